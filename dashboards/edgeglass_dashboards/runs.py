"""The run directories below one folder: which there are, and how one is opened by its path in the address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgeglass_dashboards.addresses import run_address
from edgeglass_dashboards.jobs import Jobs
from edgeglass_dashboards.tiles import Course, loss_course
from edgeglass_diag.explained.record import EXPLANATION
from edgeglass_diag.folders import find_unreadable
from edgeglass_diag.headline import headline
from edgeglass_diag.marks import EXPLAINED
from edgeglass_diag.records import RunStatus, UsageError
from edgeglass_diag.run_verdict import failure_of_ranks
from edgeglass_diag.signals import metric
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.store import Run, find_runs, load
from edgeglass_diag.verdict import Verdict, judge

UNREADABLE = "unreadable"
"""The status of a run that cannot be read, beside those of RunStatus."""

_RECALL = metric("i2t/R@1")
_CHANGING = ("run.json", "signals.sqlite", "signals.sqlite-wal", "state.json")
_FILES = (*_CHANGING, "signals.sqlite-shm", "signals.sqlite-journal", EXPLAINED, EXPLANATION)


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run in the picker: its path below the runs folder (``.`` for the folder itself) and its name.

    ``problem`` says why it cannot be read; empty where it can.
    """

    path: str
    name: str
    problem: str = ""

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
    """What the list of runs says about one; of one that cannot be read, the verdict says why."""

    entry: RunEntry
    status: str
    tags: tuple[str, ...]
    created: float
    seconds: float | None
    steps: int
    loss: float | None
    chance: float | None
    recall: float | None
    verdict: Verdict
    findings: int
    course: Course | None = None


class RunIndex:
    """The runs below a folder; what was read of a run is kept until its files change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = Jobs()
        self._names: dict[Path, tuple[list[int], RunEntry]] = {}
        self._summaries: dict[Path, tuple[list[int], RunSummary]] = {}

    def entries(self) -> list[RunEntry]:
        """All runs, newest first, and behind them those that cannot be read; links out of the folder are left out."""
        runs = find_runs(self.root)
        found = [entry for folder in reversed(runs) if (entry := self._entry(folder)) is not None]
        for folder, problem in find_unreadable(self.root, runs).items():
            if is_below(self.root, self._path(folder)):
                found.append(RunEntry(self._path(folder), folder.name, self._shown(problem)))
        return sorted(found, key=lambda entry: bool(entry.problem))

    def summaries(self) -> list[RunSummary]:
        """What the list says of each run, newest first."""
        return sorted(map(self.summary, self.entries()), key=lambda summary: -summary.created)

    def summary(self, entry: RunEntry) -> RunSummary:
        """What the list says of a run."""
        folder = self.root / entry.path
        state = _state(folder)
        known = self._summaries.get(folder)
        if entry.problem:
            return _unreadable(entry, folder)
        if known is None or known[0] != state or known[1].status == RunStatus.RUNNING:
            try:
                with reading(self.root, entry.path) as run:
                    known = state, _summarise(entry, run)
            except UsageError as error:
                known = state, _unreadable(replace(entry, problem=str(error)), folder)
            self._summaries[folder] = known
        return known[1]

    def _entry(self, folder: Path) -> RunEntry | None:
        state, path = _inodes(folder), self._path(folder)
        if self._names.get(folder, (None, None))[0] != state:
            try:
                with reading(self.root, path) as run:
                    self._names[folder] = state, RunEntry(path, run.name)
            except OutsideError:
                return None
            except UsageError as error:
                return RunEntry(path, folder.name, str(error))
        return self._names[folder][1]

    def _path(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()

    def _shown(self, problem: str) -> str:
        return problem.replace(f"{self.root}{os.sep}", "")


def state_of(root: Path, path: str) -> list[int]:
    """Return what changes when the files of a run do: their times and sizes, -1 for one that is not there.

    Nothing is told of what lies outside of ``root``.
    """
    return _state(root / path) if is_below(root, path) else []


def _state(folder: Path) -> list[int]:
    state: list[int] = []
    for name in _CHANGING:
        try:
            found = (folder / name).stat()
        except OSError:
            state.append(-1)
        else:
            state += [found.st_mtime_ns, found.st_ctime_ns, found.st_size]
    return state


def _inodes(folder: Path) -> list[int]:
    """Return what changes where other files take the place of a run's."""
    try:
        return [number for name in _FILES[:2] for number in _inode((folder / name).stat())]
    except OSError:
        return []


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_ino, found.st_dev


def _unreadable(entry: RunEntry, folder: Path) -> RunSummary:
    try:
        changed = folder.stat().st_mtime
    except OSError:
        changed = 0.0
    verdict = Verdict("warning", f"Cannot be read: {entry.problem}")
    return RunSummary(entry, UNREADABLE, (), changed, None, 0, None, None, None, verdict, 0)


def _summarise(entry: RunEntry, run: Run) -> RunSummary:
    header, status = run.header, run.status
    losses = [reading.values[0] for _, reading in run.readings(LOSS_TOTAL, site="")]
    chances = [reading.values[0] for _, reading in run.readings(LOSS_CHANCE, site="")]
    recalls = [reading.values[0] for _, reading in run.readings(_RECALL, site="")]
    chance = chances[-1] if chances else None
    created, ended = float(header.get("created", 0.0)), header.get("ended")
    tags = header.get("tags", [])
    record, findings = run.record, run.findings
    failure = failure_of_ranks(run)
    verdict = judge(findings, losses, chance, status, recorded=record.recorded, taken=record.taken, failure=failure)
    said = headline(findings, verdict, losses, chance, run.rules)
    return RunSummary(
        entry,
        status,
        tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        created,
        float(ended) - created if isinstance(ended, (int, float)) else None,
        record.taken,
        losses[-1] if losses else None,
        chance,
        recalls[-1] if recalls else None,
        Verdict(said.tone, said.text, verdict.record),
        len(findings),
        loss_course(run),
    )


class OutsideError(UsageError):
    """A path that leads out of the runs folder, or to no folder in it."""


@contextmanager
def reading(root: Path, path: str) -> Iterator[Run]:
    """Open the run at ``path`` below ``root`` inside of ``with``.

    Raises:
        UsageError: when the path leads out of ``root``, there is no whole run, or anything of it cannot be read.
    """
    try:
        with open_run(root, path) as run:
            yield run
    except UsageError:
        raise
    except Exception as error:  # its files may hold anything, and no run hides the others
        raise UsageError(f"{path} cannot be read ({type(error).__name__}: {error})") from error


def open_run(root: Path, path: str) -> Run:
    """Open the run at ``path`` below ``root``.

    Raises:
        OutsideError: when the path leads out of ``root``.
        UsageError: when there is no whole run.
    """
    if not is_below(root, path):
        raise OutsideError(f"not a run below the runs folder: {path!r}")
    try:
        return load(root / path)
    except UsageError as error:
        raise UsageError(str(error).replace(f"{root}{os.sep}", "")) from error


def is_below(root: Path, path: str) -> bool:
    """Return whether the folder and the files in it that are read lie below ``root``, also after following links."""
    if ".." in Path(path).parts or "\0" in path:
        return False
    folder, bound = root / path, root.resolve()
    try:
        inside = folder.exists() and folder.resolve().is_relative_to(bound)
    except PermissionError:
        return True  # opening it says so
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        return False
    return inside and all(_stays(file, bound) for file in (*(folder / name for name in _FILES), *_kept(folder)))


def _kept(folder: Path) -> list[Path]:
    place = folder / "embeddings"
    try:
        return [place, *place.glob("step-*.safetensors")]
    except PermissionError:
        return [place]


def _stays(file: Path, bound: Path) -> bool:
    try:
        return file.resolve().is_relative_to(bound)
    except (OSError, RuntimeError):  # it leads nowhere, and opening it says so
        return True
