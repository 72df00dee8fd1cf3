"""The store of a process that trains with others, inside of their run's folder. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeglass_diag.folders import is_run, read_header
from edgeglass_diag.process import environment
from edgeglass_diag.store import RunWriter


def open_rank_store(out: Path, rank: int | None, header: Mapping[str, object]) -> RunWriter:
    """Open the store ``rank-N`` inside of the run's folder.

    N is the process id if the rank is not known or another process has it already: a second launch, or a RANK in the
    environment that was not meant for this process.

    Args:
        out: folder of the run.
        rank: of this process, None where unknown.
        header: what its ``run.json`` says besides, the command line among it, without what is secret in it.
    """
    number = os.getpid() if rank is None else rank
    if (is_run(out) and read_header(out).get("rank") == number) or not _claim(out / f"rank-{number}"):
        number = os.getpid()
    about = {"environment": environment(), "rank": number, **header}
    return RunWriter(out / f"rank-{number}", name=f"{out.name}/rank-{number}", header=about)


def _claim(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True
