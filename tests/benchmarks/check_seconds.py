"""Seconds of ``edgeglass-diag check`` on the published-scale heads, import included: wall clock and processor time.

Usage: python tests/benchmarks/check_seconds.py [TIMES]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

COMMAND = Path(sys.executable).parent / "edgeglass-diag"


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for recipe in ("baseline-vit-l-14", "perceiver-vit-l-14"):
        for _ in range(times):
            before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run([COMMAND, "check", recipe, "--json"], stdout=subprocess.DEVNULL, check=True)
            wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
            user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
            print(f"{recipe:20s} wall {wall:5.2f} s (aim 5), user {user:5.2f} s, system {system:5.2f} s", flush=True)


if __name__ == "__main__":
    main()
