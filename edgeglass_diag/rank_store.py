"""The store of a process that trains with others, inside of their run's folder. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeglass_diag.folders import is_run, read_header
from edgeglass_diag.process import environment
from edgeglass_diag.store import RunWriter


def open_rank_store(
    out: Path, rank: int | None, header: Mapping[str, object], *, resume: int | None = None
) -> RunWriter:
    """Open the store ``rank-N`` inside of the run's folder.

    N is the process id if the rank is not known or another process has it already: a second launch, or a RANK in the
    environment that was not meant for this process.

    Args:
        out: folder of the run.
        rank: of this process, None where unknown.
        header: what its ``run.json`` says besides, the command line among it, without what is secret in it.
        resume: step at which the run goes on, and with it the record of this rank if it has one; None for a new run.

    Raises:
        UsageError: if the folder cannot be written, or the record of this rank cannot go on.
    """
    number = os.getpid() if rank is None else rank
    if (is_run(out) and read_header(out).get("rank") == number) or not _claim(out / f"rank-{number}", resume):
        number = os.getpid()
    about = {"environment": environment(), "rank": number, **header}
    return RunWriter(out / f"rank-{number}", name=f"{out.name}/rank-{number}", header=about, resume=resume)


def _claim(folder: Path, resume: int | None) -> bool:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return resume is not None and _waits(folder, resume)
    return True


def _waits(folder: Path, step: int) -> bool:
    """Return whether the record of a rank is still to go on: another process of this start may have done so already."""
    return is_run(folder) and all(cut["step"] < step for cut in read_header(folder).get("resumed", ()))
