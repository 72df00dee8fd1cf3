"""The traces of a run, as ``edgeglass-diag profile`` leaves them: which there are, and their summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.summarise_traces import summary_of
from edgeglass_diag.profiling.options import traces
from edgeglass_diag.store import Run

MOST_BYTES = 512 * 2**20
"""Bytes of traces that are read at once; a reader of JSON takes some ten times as many."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """The traces of a run; ``summary`` is None while they are read, ``problem`` says why they cannot be."""

    files: tuple[Path, ...] = ()
    summary: dict[str, Any] | None = None
    problem: str = ""


def traces_below(run: Run, root: Path) -> tuple[Path, ...]:
    """Return the traces of a run that lie below the folder of all runs, also after following links."""
    bound = root.resolve()
    return tuple(file for file in traces(run.folder) if file.is_file() and file.resolve().is_relative_to(bound))


_SAID: WeakKeyDictionary[Run, Profiled] = WeakKeyDictionary()
"""What was said of a run that is open: all of an answer says the same, also where the summary comes in between."""


def profiled(context: Context) -> Profiled:
    """Return the traces of the page's run and their summary, which is made in the background."""
    if context.run not in _SAID:
        _SAID[context.run] = _read(context)
    return _SAID[context.run]


def _read(context: Context) -> Profiled:
    files = traces_below(context.run, context.root)
    if not files:
        return Profiled()
    if (size := sum(file.stat().st_size for file in files)) > MOST_BYTES:
        words = f"{size / 2**20:.0f} MiB of traces are too many to be summarised here, of at most {MOST_BYTES >> 20}"
        return Profiled(files, problem=words)

    def make() -> Any:
        try:
            return summary_of(files)
        except ValueError as error:
            return str(error).replace(f"{context.root}/", "")

    made = context.index.jobs.get(key_of(files), make)
    return Profiled(files, problem=made) if isinstance(made, str) else Profiled(files, made)


def key_of(files: tuple[Path, ...]) -> tuple[Any, ...]:
    """What changes when a trace is written."""
    return ("profile", *((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files))
