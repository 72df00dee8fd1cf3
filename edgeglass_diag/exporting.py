"""Writes what a run's record holds into a sink, in the order of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.process import error_text, say
from edgeglass_diag.records import Finding, Reading, UsageError
from edgeglass_diag.signals import Signal
from edgeglass_diag.sinks import About, Sink, Target, closing
from edgeglass_diag.store import Run
from edgeglass_diag.user_input.files import exists

if TYPE_CHECKING:
    import pandas as pd

_Frames = Mapping[Signal, "pd.DataFrame"]


@dataclass(frozen=True)
class Exported:
    """What was written of one process of a run.

    Attributes:
        name: of the run, or of its rank.
        place: where it went, as a person finds it.
        readings: how many were written; one of several heads is one.
        findings: how many were written.
        embeddings: steps whose embeddings were written.
    """

    name: str
    place: str
    readings: int = 0
    findings: int = 0
    embeddings: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def check_place(run: Run, target: Target, out: Path | None) -> Path | None:
    """Return the folder that an export makes: ``NAME-TARGET`` where none is given, None for a tracker's own place.

    Raises:
        UsageError: if it is there already.
    """
    if out is None and target.is_tracker:
        return None
    place = Path(f"{Path(run.name).name}-{target.name}") if out is None else out
    if exists(place):
        raise UsageError(f"--out {place}: expected a new folder, got what is there already; nothing is overwritten")
    return place


def export_run(run: Run, target: Target, out: Path | None) -> list[Exported]:
    """Write a run into a sink, each rank as a run of its own; the findings are those of all ranks, with the first.

    Args:
        run: the run.
        target: the sink.
        out: new folder; files of each rank are in a folder of it where there are several. None for a tracker's own
            place.

    Raises:
        UsageError: where there is nothing to write, or the sink fails.
    """
    write = _write_embeddings if target.takes_embeddings else _write_signals
    return write(run, target, out)


def readings_by_step(frames: _Frames) -> Iterator[tuple[int, list[Reading]]]:
    """Yield the readings of each step in rising order.

    Args:
        frames: of one rank, with columns step, site, component and value, by step.
    """
    import numpy as np

    columns = [
        (signal, frame["step"].to_numpy(), frame["site"].to_numpy(object), frame["component"], frame["value"])
        for signal, frame in frames.items()
    ]
    steps = np.unique(np.concatenate([np.empty(0, np.int64), *(steps for _, steps, *_ in columns)]))
    for step in steps.tolist():
        found: list[Reading] = []
        for signal, own, sites, components, values in columns:
            rows = slice(*np.searchsorted(own, [step, step + 1]))
            parts = components.to_numpy()[rows], values.to_numpy()[rows]
            found += _joined(step, signal, sites[rows].tolist(), parts[0].tolist(), parts[1].tolist())
        yield step, found


def _joined(
    step: int, signal: Signal, sites: Sequence[str], components: Sequence[int], values: Sequence[float]
) -> Iterator[Reading]:
    """Yield readings of rows of one step; each begins with component 0."""
    starts = [row for row, component in enumerate(components) if component == 0]
    for start, end in zip(starts, [*starts[1:], len(values)], strict=False):
        yield Reading(step, sites[start], signal, tuple(values[start:end]))


def _write_signals(run: Run, target: Target, out: Path | None) -> list[Exported]:
    ranks, findings = run.ranks, run.findings
    known = sorted({signal for process in ranks.values() for signal in process.signals})
    frames = {signal: run.frame(signal) for signal in known}
    if not findings and all(frame.empty for frame in frames.values()):
        raise UsageError(f"{run.folder}: expected a run with readings, got one in which nothing was recorded")
    written: list[Exported] = []
    for number, process in ranks.items():
        own = frames if len(ranks) == 1 else {signal: _of_rank(frame, number) for signal, frame in frames.items()}
        told = findings if not written else []
        written.append(_write_rank(process, target, _folder(target, out, number, len(ranks)), own, told))
    return written


def _write_rank(
    process: Run, target: Target, out: Path | None, frames: _Frames, findings: Sequence[Finding]
) -> Exported:
    count = 0
    with _opened(process, target, out) as sink:
        for step, readings in readings_by_step(frames):
            sink.readings(step, readings)
            count += len(readings)
        for finding in findings:
            sink.finding(finding)
    return Exported(process.name, sink.place, readings=count, findings=len(findings))


def _write_embeddings(run: Run, target: Target, out: Path | None) -> list[Exported]:
    ranks = {number: process for number, process in run.ranks.items() if process.embedding_steps()}
    if not ranks:
        raise UsageError(f"{run.folder}: expected a run that has kept embeddings, got one without any")
    written = []
    for number, process in ranks.items():
        steps = process.embedding_steps()
        with _opened(process, target, _folder(target, out, number, len(ranks))) as sink:
            for step in steps:
                image, text = process.embeddings(step)
                sink.embeddings(step, image, text, _captions(process, step, len(image)))
        written.append(Exported(process.name, sink.place, embeddings=len(steps)))
    return written


def _captions(process: Run, step: int, pairs: int) -> Sequence[str]:
    """Return the captions of a step; none, and a message, where they cannot be read: the embeddings can."""
    try:
        return process.samples(step).of_pairs(pairs).captions
    except UsageError as error:
        say(str(error))
        return ()


def _of_rank(frame: pd.DataFrame, number: int) -> pd.DataFrame:
    return frame[frame["rank"] == number] if "rank" in frame else frame


def _folder(target: Target, out: Path | None, number: int, ranks: int) -> Path | None:
    """Return the folder of a rank; a tracker keeps several runs in one place."""
    return out if out is None or ranks == 1 or target.is_tracker else out / f"rank-{number}"


@contextmanager
def _opened(process: Run, target: Target, out: Path | None) -> Iterator[Sink]:
    """Give a sink, and close it; what its package raises is one line."""
    try:
        sink = target.open(About(process.name, process.folder.absolute()), out)
        with closing(sink, process.status):
            yield sink
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"--to {target.name} failed: {error_text(error)}") from error
