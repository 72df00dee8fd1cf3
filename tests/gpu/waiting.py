"""Where the recorder would wait for the device: nowhere in the training thread once the model is built.

On CUDA torch itself tells (``set_sync_debug_mode("error")``). Elsewhere the operations that would wait on CUDA are
counted, as far as the recorder calls them; copies to a device cannot be told there.
"""

from __future__ import annotations

import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from edgeglass_diag.record import boundary
from edgeglass_diag.sites import Coverage
from edgeglass_diag.watching import Watch
from tests.gpu.programs import training

STEPS = 4
LATE = 1_000_000
"""A step long after the dense windows of the start."""
WINDOWS: dict[str, int] = {"off-window": LATE * 2, "every window": 1}
_WAITING = frozenset({
    "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive",
    "bincount", "equal", "_linalg_eigh", "_linalg_svd", "_linalg_check_errors", "linalg_eig", "linalg_eigvals",
    "linalg_lstsq", "linalg_cholesky_ex", "linalg_lu_factor_ex", "linalg_inv_ex",
})  # fmt: skip
"""Operators whose result, or whose check for errors, the host waits for."""
_PASSING = frozenset({("function_mode.py", "__torch_function__"), ("patching.py", "replacement")})
"""Functions of the recorder in which the user's own operators run."""


def waits(on: torch.device, every: int) -> list[str]:
    """Return where the recorder, or a training watched by it, waits for the device; empty where it never does.

    Args:
        on: the device.
        every: distance of the recorded windows.
    """
    made = training(on)
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder) / "run", every=every)
        with watch:
            made.step()  # initial values are looked at until the first step, which may wait
            watch._recorder._clock.step = LATE
            made.step()
            with _told(on, found):
                for _ in range(STEPS):
                    made.step()
        found += _failures(Path(folder) / "run")
    return found


def _failures(folder: Path) -> list[str]:
    from edgeglass_diag.store import load

    with load(folder) as run:
        return [f"{site.path}: {site.detail}" for site in run.sites if site.coverage is Coverage.RECORDER_FAILED]


@contextmanager
def _told(on: torch.device, found: list[str]) -> Iterator[None]:
    if on.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        except RuntimeError as error:
            found.append(f"the training itself: {error}")
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return
    with patch.object(boundary, "_disable_current_modes", nullcontext), _Counting(found):
        yield


class _Counting(TorchDispatchMode):
    """Notes operators that would wait, with the line of the recorder that calls them."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found, self._thread = found, threading.current_thread()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.__name__.partition(".")[0]
        if (name in _WAITING or _takes_a_mask(name, args)) and threading.current_thread() is self._thread:
            line = recorder_line(traceback.extract_stack())
            if line is not None:
                self._found.append(f"{name} at {line}")
        return func(*args, **(kwargs or {}))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)


def _takes_a_mask(name: str, args: Any) -> bool:
    """Return whether entries are chosen by a mask, whose number the host must know."""
    indices = args[1] if name in ("index", "index_put", "index_put_") else ()
    return any(index is not None and index.dtype == torch.bool for index in indices)


def recorder_line(stack: traceback.StackSummary) -> str | None:
    """Return the innermost line of the recorder that is on the stack; None where it only passes a call through."""
    for frame in reversed(stack):
        file = Path(frame.filename)
        if "edgeglass_diag" in file.parts:
            return None if (file.name, frame.name) in _PASSING else f"{file.name}:{frame.lineno} {frame.line}"
    return None
