"""The environment through which the options of a run reach the processes that a program starts.

One variable holds the options; the first folder on PYTHONPATH holds a ``sitecustomize``, which Python imports at the
start of each process and which attaches to the process once torch has been imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgeglass_diag.programs import bootstrap
from edgeglass_diag.programs.bootstrap.edgeglass_diag_after_import import VARIABLE, AfterImport
from edgeglass_diag.programs.options import ProcessOptions


def propagate_env(options: ProcessOptions) -> None:
    """Set the environment so that processes started from now on are watched as part of the run."""
    place = str(Path(bootstrap.__file__).parent)
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != place]
    os.environ["PYTHONPATH"] = os.pathsep.join([place, *others])
    os.environ[VARIABLE] = options.as_text()


def is_recorded() -> bool:
    """Return whether ``edgeglass-diag run`` records this process, and a record of its own would be a second one."""
    return bool(os.environ.get(VARIABLE))


def clear_env() -> None:
    """Detach this process and its children from the run that started it, so that it can begin a run of its own."""
    # By name: sitecustomize has imported a copy of the class under another module name.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != AfterImport.__name__]
    os.environ.pop(VARIABLE, None)
