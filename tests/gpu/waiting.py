"""Whether the training thread waits for the device, as torch itself tells on CUDA (``set_sync_debug_mode``).

``tests/record/test_no_waiting.py`` asks the same of tensors without values, where there is no CUDA.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from edgeglass_diag.sites import Coverage
from edgeglass_diag.store import load
from edgeglass_diag.watching import Watch
from tests.gpu.programs import training

STEPS = 4
LATE = 1_000_000
"""A step long after the dense windows of the start."""
WINDOWS: dict[str, int] = {"off-window": LATE * 2, "every window": 1}


def waits(on: torch.device, every: int) -> list[str]:
    """Return what would have waited for a CUDA device in steps of a watched training; empty where nothing does.

    An operation that waits raises: in the recorder it becomes coverage of a site, elsewhere it ends the steps.

    Args:
        on: the device.
        every: distance of the recorded windows.
    """
    made = training(on)
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder) / "run", every=every)
        with watch:
            made.step()  # initial values are looked at until the first step, which waits
            watch._recorder._clock.step = LATE
            made.step()
            torch.cuda.set_sync_debug_mode("error")
            try:
                for _ in range(STEPS):
                    made.step()
            except RuntimeError as error:
                found.append(f"the training: {error}")
            finally:
                torch.cuda.set_sync_debug_mode("default")
        with load(Path(folder) / "run") as run:
            failed = [site for site in run.sites if site.coverage is Coverage.RECORDER_FAILED]
    return found + [f"{site.path}: {site.detail}" for site in failed]
