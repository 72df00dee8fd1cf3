"""What a report is about: a run, and its evaluation where it could be evaluated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.explained.record import KeptExplanation, is_explanation, read_explanation
from edgeglass_diag.records import UsageError
from edgeglass_diag.run_verdict import run_verdict
from edgeglass_diag.signals import Signal
from edgeglass_diag.verdict import Branch, Verdict, nest

if TYPE_CHECKING:
    import pandas as pd

    from edgeglass_diag.evaluation.pairs import PairSample
    from edgeglass_diag.store import Run


@dataclass(frozen=True)
class Evaluation:
    """What ``eval --json`` prints of a run, and the pairs that its pictures show."""

    result: Mapping[str, Any]
    sample: PairSample


@dataclass(frozen=True)
class Subject:
    """One run of a report; ``missing`` says why there is no evaluation where there is none."""

    run: Run
    label: str
    evaluation: Evaluation | None = None
    missing: str = ""

    @cached_property
    def branches(self) -> list[Branch]:
        """Findings below what causes them."""
        return nest(self.run.findings)

    @cached_property
    def verdict(self) -> Verdict:
        """Is it learning, and if not, what is wrong."""
        return run_verdict(self.run)

    def series(self, signal: Signal) -> pd.DataFrame:
        """A signal of the whole model by step: columns step and value."""
        import pandas as pd

        rows = [(reading.step, reading.values[0]) for _, reading in self.run.readings(signal, site="")]
        return pd.DataFrame(rows, columns=["step", "value"]).astype({"value": float})

    @cached_property
    def explanation(self) -> KeptExplanation | None:
        """What the newest explanation of the run has found; None where there is none that can be read."""
        return self._explained[0]

    @property
    def unexplained(self) -> str:
        """Why an explanation that is kept of the run cannot be read; empty where it can or there is none."""
        return self._explained[1]

    @property
    def explained_in(self) -> Path | None:
        """Folder of the newest explanation of the run, or of the one whose replay it is; None without any."""
        around = (place for place in self.run.folder.resolve().parents[:2] if is_explanation(place))
        return self.run.explained.folder or next(around, None)

    @cached_property
    def _explained(self) -> tuple[KeptExplanation | None, str]:
        kept, folder = self.run.explained, self.explained_in
        if folder is None:
            return None, kept.fault
        try:
            return read_explanation(folder), kept.fault
        except UsageError as error:
            return None, str(error)

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe's settings as one level of dotted names; empty for a program."""
        return dict(_flat(self.run.header.get("settings", {})))


def last_finite(frame: pd.DataFrame) -> float:
    """The last value that is finite, NaN where there is none."""
    values = [value for value in frame["value"] if math.isfinite(value)]
    return values[-1] if values else math.nan


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found
