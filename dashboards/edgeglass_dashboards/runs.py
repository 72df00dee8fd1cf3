"""The run directories below one folder: which there are, and how one is opened by its path in the address."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgeglass_dashboards.addresses import run_address
from edgeglass_dashboards.jobs import Jobs
from edgeglass_diag.records import RunStatus, UsageError
from edgeglass_diag.signals import metric
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.store import Run, find_runs, load
from edgeglass_diag.verdict import Verdict, judge

_RECALL = metric("i2t/R@1")


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run in the picker: its path below the runs folder (``.`` for the folder itself) and its name."""

    path: str
    name: str

    @property
    def address(self) -> str:
        """The deep link of the run, for example ``/run/incident/perceiver``."""
        return run_address(self.path)

    @property
    def label(self) -> str:
        """Path and name, as text that can be shown."""
        known = self.path.split("/")[-1] == self.name
        text = self.path if known else f"{self.name} ({self.path})"
        return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What the list of runs says about one."""

    entry: RunEntry
    status: str
    tags: tuple[str, ...]
    created: float
    seconds: float | None
    last_step: int
    loss: float | None
    chance: float | None
    recall: float | None
    verdict: Verdict
    findings: int


class RunIndex:
    """The runs below a folder; what was read of a run is kept until its files change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = Jobs()
        self._names: dict[Path, tuple[tuple[float, ...], RunEntry]] = {}
        self._summaries: dict[Path, tuple[tuple[float, ...], RunSummary]] = {}

    def entries(self) -> list[RunEntry]:
        """All runs, newest first; links that lead out of the folder are left out."""
        found = []
        for folder in reversed(find_runs(self.root)):
            state = _state(folder, "run.json", "signals.sqlite", inode=True)
            if self._names.get(folder, ((), None))[0] != state:
                path = folder.relative_to(self.root).as_posix()
                try:
                    with open_run(self.root, path) as run:
                        self._names[folder] = state, RunEntry(path, run.name)
                except UsageError:
                    continue
            found.append(self._names[folder][1])
        return found

    def summaries(self) -> list[RunSummary]:
        """What the list says of each run, newest first."""
        found = []
        for entry in self.entries():
            folder = self.root / entry.path
            state = _state(folder, "run.json", "signals.sqlite", "signals.sqlite-wal")
            known = self._summaries.get(folder)
            if known is None or known[0] != state or known[1].status == RunStatus.RUNNING:
                try:
                    with open_run(self.root, entry.path) as run:
                        self._summaries[folder] = state, _summarise(entry, run)
                except UsageError:
                    continue
            found.append(self._summaries[folder][1])
        return found


def _state(folder: Path, *names: str, inode: bool = False) -> tuple[float, ...]:
    """What changes when the files do: inode where only another file counts, else time and size; -1 without a file."""
    state: list[float] = []
    for name in names:
        try:
            found = (folder / name).stat()
        except OSError:
            state.append(-1)
            continue
        state += [found.st_ino, found.st_dev] if inode else [found.st_mtime_ns, found.st_size]
    return tuple(state)


def _summarise(entry: RunEntry, run: Run) -> RunSummary:
    header, status = run.header, run.status
    losses = [reading.values[0] for _, reading in run.readings(LOSS_TOTAL, site="")]
    chances = [reading.values[0] for _, reading in run.readings(LOSS_CHANCE, site="")]
    recalls = [reading.values[0] for _, reading in run.readings(_RECALL, site="")]
    chance = chances[-1] if chances else None
    created, ended = float(header.get("created", 0.0)), header.get("ended")
    tags = header.get("tags", [])
    return RunSummary(
        entry,
        status,
        tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        created,
        float(ended) - created if isinstance(ended, (int, float)) else None,
        run.last_step,
        losses[-1] if losses else None,
        chance,
        recalls[-1] if recalls else None,
        judge(run.findings, losses, chance, status, recorded=run.windows, taken=run.last_step + 1),
        len(run.findings),
    )


def open_run(root: Path, path: str) -> Run:
    """Open the run at ``path`` below ``root``.

    Raises:
        UsageError: when the path leads out of ``root``, or there is no whole run.
    """
    folder = root / path
    if not _is_below(root, path):
        raise UsageError(f"not a run below the runs folder: {path!r}")
    try:
        return load(folder)
    except UsageError as error:
        raise UsageError(str(error).replace(f"{root}{os.sep}", "")) from error


def _is_below(root: Path, path: str) -> bool:
    """Whether the folder and the files in it that are read lie below ``root``, also after following links."""
    if ".." in Path(path).parts or "\0" in path:
        return False
    folder, bound = root / path, root.resolve()
    try:
        stores = [folder / f"signals.sqlite{ending}" for ending in ("", "-wal", "-shm")]
        kept = [folder / "embeddings", *(folder / "embeddings").glob("step-*.safetensors")]
        files = [file.resolve() for file in (folder, folder / "run.json", *stores, *kept)]
        return all(file.is_relative_to(bound) for file in files) and folder.exists()
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        return False
