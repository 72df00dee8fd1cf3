"""The store of a child process inside of its run's folder."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeglass_diag.alerts.address import without_secret
from edgeglass_diag.own_rank import known_world_size
from edgeglass_diag.programs.options import ProcessOptions
from edgeglass_diag.rank_store import open_rank_store
from edgeglass_diag.rules.choice import header_of
from edgeglass_diag.schedule import Schedule
from edgeglass_diag.store import RunWriter


def open_store(options: ProcessOptions, rank: int | None) -> RunWriter:
    """Open the store of a child process inside of the run's folder."""
    cadence = Schedule.of(options.every).facts
    about = {**cadence, "world_size": known_world_size(), **header_of(options.configured_rules())}
    command = without_secret(sys.argv, options.notify)
    header = {**about, "command": command, **options.header}
    return open_rank_store(Path(options.out), rank, header, resume=options.resume)
