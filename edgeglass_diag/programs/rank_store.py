"""The store of a child process inside of its run's folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgeglass_diag.alerts.address import without_secret
from edgeglass_diag.folders import is_run, read_header
from edgeglass_diag.own_rank import known_world_size
from edgeglass_diag.process import environment
from edgeglass_diag.programs.options import ProcessOptions
from edgeglass_diag.rules.choice import header_of
from edgeglass_diag.store import RunWriter


def open_rank_store(options: ProcessOptions, rank: int | None) -> RunWriter:
    """Open the store ``rank-N`` inside of the run's folder.

    N is the process id if the rank is not known or another process has it already: a second launch, or a RANK in the
    environment that was not meant for this process.
    """
    out, number = Path(options.out), os.getpid() if rank is None else rank
    if (is_run(out) and read_header(out).get("rank") == number) or not _claim(out / f"rank-{number}"):
        number = os.getpid()
    about = {
        "every": options.every,
        "environment": environment(),
        "command": without_secret(sys.argv, options.notify),
        "rank": number,
        "world_size": known_world_size(),
    }
    header = {**about, **header_of(options.configured_rules()), **options.header}
    return RunWriter(out / f"rank-{number}", name=f"{out.name}/rank-{number}", header=header)


def _claim(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True
