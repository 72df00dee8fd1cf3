"""Summarise traces in a process of its own: a reader of JSON lets no other thread work for seconds.

``python -m edgeglass_dashboards.summarise_traces FILE...`` prints what ``summarise`` returns as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeglass_diag.profiling.summary import summarise

_SECONDS = 300


def summary_of(files: Sequence[Path]) -> dict[str, Any]:
    """Return the summary of traces.

    Raises:
        ValueError: for a file that is not a trace, traces without a whole step, and what takes too long.
    """
    command = [sys.executable, "-m", __name__, *map(str, files)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"the traces could not be read in {_SECONDS} s") from error
    if done.returncode:
        raise ValueError((done.stderr.strip() or f"the reader ended with {done.returncode}").splitlines()[-1])
    made: dict[str, Any] = json.loads(done.stdout)
    return made


if __name__ == "__main__":
    try:
        print(json.dumps(summarise([Path(name) for name in sys.argv[1:]])))
    except ValueError as error:
        sys.exit(str(error))
