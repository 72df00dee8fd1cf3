"""The sinks by the names that a user gives them, each with the extra that installs its package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.extras import EXTRAS, check_extra
from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from edgeglass_diag.sinks.sink import About, Sink


@dataclass(frozen=True)
class Target:
    """Where a run can go.

    Attributes:
        name: as a user gives it, and that of the extra.
        module: in this package, which has a class ``Into``.
        is_live: whether it can be fed during the training.
        is_tracker: whether it has a place of its own where no folder is given.
        takes_embeddings: whether it shows embeddings, and no signals.
    """

    name: str
    module: str
    is_live: bool = False
    is_tracker: bool = False
    takes_embeddings: bool = False
    used: tuple[str, ...] = ()

    def check(self, option: str) -> None:
        """Raise UsageError if a package is not installed; nothing is imported."""
        if self.name in EXTRAS:
            check_extra(self.name, f"{option} {self.name}")

    def load(self) -> None:
        """Import the packages, and the modules of them that are used: an import in a thread may be cut by a fork."""
        for module in (*EXTRAS.get(self.name, ()), *self.used, f"edgeglass_diag.sinks.{self.module}"):
            import_module(module)

    def open(self, about: About, out: Path | None) -> Sink:
        """Return a sink for a run; where ``out`` is None, in its own place."""
        made: Sink = import_module(f"edgeglass_diag.sinks.{self.module}").Into(about, out)
        return made


_TENSORBOARD = (
    "tensorboard.summary.writer.event_file_writer", "tensorboard.compat.proto.summary_pb2",
    "tensorboard.plugins.text.metadata",
)  # fmt: skip

TARGETS = {
    target.name: target
    for target in (
        Target("parquet", "parquet"),
        Target("csv", "csv"),
        Target("tensorboard", "tensorboard", is_live=True, used=_TENSORBOARD),
        Target("wandb", "wandb", is_live=True, is_tracker=True),
        Target(
            "mlflow",
            "mlflow",
            is_live=True,
            is_tracker=True,
            used=("mlflow.tracking", "mlflow.entities"),
        ),
        Target("trackio", "trackio", is_live=True, is_tracker=True, used=("trackio.sqlite_storage",)),
        Target("embedding-atlas", "embedding_atlas", takes_embeddings=True),
    )
}
"""All sinks by name."""


def target_named(name: str, option: str, *, live: bool = False) -> Target:
    """Return the sink of this name, whose packages are installed.

    Args:
        name: of the sink.
        option: as the user wrote it, for the error.
        live: whether it is to be fed during the training.

    Raises:
        UsageError: for another name, or if a package is missing.
    """
    known = {known: target for known, target in TARGETS.items() if target.is_live or not live}
    if name not in known:
        raise UsageError(f"{option}: expected one of {', '.join(known)}, got {name!r}")
    known[name].check(option)
    return known[name]


def live_targets(names: Sequence[str], option: str) -> tuple[Target, ...]:
    """Return the sinks of these names, each once, that can be fed during the training.

    Raises:
        UsageError: for another name, or if a package is missing.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        text = "the text " if isinstance(names, str) else ""
        raise UsageError(f"{option}: expected a sequence of names, got {text}{names!r}")
    return tuple(target_named(name, option, live=True) for name in dict.fromkeys(names))
