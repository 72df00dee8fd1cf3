"""Writers in C++ and Rust, which open files unseen by Python: asked for the guard's leave before they begin."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from edgeglass_diag.programs.bootstrap.edgeglass_diag_after_import import call_after_import
from edgeglass_diag.replaying.guard import Guard

_ENTRIES = {
    "torch": (("torch.serialization", "save", 1, "f"), ("torch.jit", "save", 1, "f")),
    "safetensors.torch": (("safetensors.torch", "save_file", 1, "filename"),),
    "safetensors.numpy": (("safetensors.numpy", "save_file", 1, "filename"),),
    "pyarrow.parquet": (("pyarrow.parquet.core", "ParquetWriter.__init__", 1, "where"),),
    "pyarrow.feather": (("pyarrow.feather", "write_feather", 1, "dest"),),
}
"""Module that is awaited -> module and name of each writer, position and name of its argument that is a path."""


def guard_writers(guard: Guard) -> None:
    """Ask ``guard`` before these writers open a file, in libraries that are imported or will be; torch is."""
    for module in _ENTRIES:
        call_after_import(module, functools.partial(_wrap_all, module, guard))


def _wrap_all(module: str, guard: Guard) -> None:
    for home, path, position, name in _ENTRIES[module]:
        *owners, last = path.split(".")
        owner: Any = functools.reduce(getattr, owners, sys.modules[home])
        call = getattr(owner, last)
        asking = _asking(call, guard, position, name)
        setattr(owner, last, asking)
        if getattr(sys.modules[module], last, None) is call:
            setattr(sys.modules[module], last, asking)


def _asking(call: Callable[..., Any], guard: Guard, position: int, name: str) -> Callable[..., Any]:
    @functools.wraps(call)
    def asking(*arguments: Any, **keywords: Any) -> Any:
        path = arguments[position] if len(arguments) > position else keywords.get(name)
        guard.check_write(path, keep=False)
        return call(*arguments, **keywords)

    return asking
