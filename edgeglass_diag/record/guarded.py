"""The block in which the recorder computes: apart from the user's graph, and without an exception that leaves it."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from edgeglass_diag.record.profiler_ranges import RECORDER, span
from edgeglass_diag.record.site_registry import SiteRegistry
from edgeglass_diag.sites import Kind


class guarded_measurement:  # noqa: N801  a context manager that reads as a function, as torch.no_grad does
    """A block without gradients, autocast and modes.

    A fault of the recorder must not end a training: it becomes the coverage of a site.

    Args:
        sites: where a failure is noted.
        path: of the site that is measured.
        kind: of that site.
        tensor: what is measured, on whose device there is to be no autocast.
    """

    def __init__(self, sites: SiteRegistry, path: str, kind: Kind, tensor: Tensor | None = None) -> None:
        self._sites, self._path, self._kind = sites, path, kind
        self._stack = ExitStack()
        self._device = None if tensor is None else tensor.device.type

    def __enter__(self) -> None:
        self._stack.enter_context(torch.no_grad())
        self._stack.enter_context(torch._C.DisableTorchFunction())
        if torch._C._len_torch_dispatch_stack():  # a FlopCounterMode counts the user's operations, not ours
            self._stack.enter_context(_disable_current_modes())
        if self._device is not None and torch.amp.is_autocast_available(self._device):
            self._stack.enter_context(torch.autocast(self._device, enabled=False))
        self._stack.enter_context(span(RECORDER))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._stack.close()
        if error is None or not isinstance(error, Exception):
            return False
        self._sites.failed(error, self._path, self._kind)
        return True
