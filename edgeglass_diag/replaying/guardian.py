"""Starts the process of a replay and ends with it all that it started, also when the one who asked for it is gone.

It stands between the two: it hears by the end of its stdin that the other is gone, however that came, and as the
adoptive parent of all orphans below it finds processes that left their group.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from edgeglass_diag.replaying.death import adopt_orphans, kill_descendants
from edgeglass_diag.replaying.mirror import of_scratch
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.surroundings import environment_of

_PAUSE = 0.05
"""Seconds between two looks at the process."""


def main(file: str) -> int:
    """Run the replay of the plan in a file to its end, or to that of stdin; return its exit status."""
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = Plan.parse(Path(file).read_text())
    temporary = os.path.realpath(tempfile.mkdtemp(prefix="replay-"))
    try:
        mirror = of_scratch(plan.scratch, plan.absent)
        environment = environment_of(plan, mirror, temporary, os.environ)
        mirror.open(plan.folder, head_start=True)
        line = [sys.executable, "-m", "edgeglass_diag.replaying.child", os.path.abspath(file)]
        child = subprocess.Popen(line, stdin=subprocess.DEVNULL, env=environment, cwd=plan.scratch)
        while child.poll() is None:
            if select.select([sys.stdin], [], [], _PAUSE)[0]:
                return 1
        return child.returncode
    finally:
        kill_descendants()
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
