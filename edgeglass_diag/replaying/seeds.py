"""Seeds of a replay: what the program gives to its random number generators, and a number to it.

Left alone are ``random.Random``, ``numpy.random.RandomState`` and ``torch.default_generator``, which are not what a
program seeds its weights and batches by. No torch before the program imports it.
"""

from __future__ import annotations

import functools
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

from edgeglass_diag.programs.bootstrap.edgeglass_diag_after_import import call_after_import

_OF_TORCH = (
    "torch", "torch.random", "torch.cuda", "torch.cuda.random", "torch.mps", "torch.xpu", "torch.xpu.random",
)  # fmt: skip
_NAMES = ("manual_seed", "manual_seed_all")
_RANGE_OF_NUMPY = 2**32

_inside = threading.local()


def seed_python(offset: int) -> None:
    """Seed ``random``, and ``numpy.random`` once it is imported, by ``offset``, and add that to later seeds."""
    random.seed(offset)
    _shift_random(offset)

    def seed_numpy() -> None:
        sys.modules["numpy.random"].seed(offset)
        _shift_numpy(offset)

    call_after_import("numpy.random", seed_numpy)


def shift_python(offset: int) -> None:
    """Add ``offset`` to later seeds of ``random`` and NumPy, in a process that may have seeded them already."""
    _shift_random(offset)
    call_after_import("numpy.random", functools.partial(_shift_numpy, offset))


def seed_torch(offset: int) -> None:
    """Seed torch, which has just been imported, by ``offset``, and add that to later seeds of the program."""
    import torch

    torch.manual_seed(offset)
    if offset:
        _shift_torch(offset)


def _shift_random(offset: int) -> None:
    if offset:
        random.seed = _adding(random.seed, offset)


def _shift_numpy(offset: int) -> None:
    if not offset:
        return
    module: Any = sys.modules["numpy.random"]
    module.seed = _adding(module.seed, offset, below=_RANGE_OF_NUMPY)
    module.default_rng = _adding(module.default_rng, offset)


def _shift_torch(offset: int) -> None:
    import torch

    for name in _OF_TORCH:
        module = sys.modules.get(name)
        for call in _NAMES:
            if hasattr(module, call):
                setattr(module, call, _adding(getattr(module, call), offset))

    plain: Any = torch.Generator

    class OfAll(type(plain)):  # type: ignore[misc]
        """Counts all of torch's own generators as instances, the default one among them."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, plain)

    class Generator(plain, metaclass=OfAll):  # type: ignore[misc]
        """A generator that adds the offset to its seed."""

        def manual_seed(self, seed: int) -> Any:
            """Set the seed, as torch's own."""
            return super().manual_seed(_added(seed, offset))

    Generator.__qualname__, Generator.__module__ = plain.__qualname__, plain.__module__
    torch.Generator = Generator  # type: ignore[misc]


def _adding(call: Callable[..., Any], offset: int, *, below: int | None = None) -> Callable[..., Any]:
    """Return a function of a seed that adds ``offset`` to it, unless another such function has done so."""

    @functools.wraps(call)
    def adding(*arguments: Any, **keywords: Any) -> Any:
        if getattr(_inside, "adds", False):
            return call(*arguments, **keywords)
        _inside.adds = True
        try:
            shifted = [_added(each, offset, below) for each in arguments[:1]]
            named = {name: _added(each, offset, below) if name in _SEEDS else each for name, each in keywords.items()}
            return call(*shifted, *arguments[1:], **named)
        finally:
            _inside.adds = False

    return adding


_SEEDS = ("seed", "a")


def _added(seed: Any, offset: int, below: int | None = None) -> Any:
    """Return a seed with ``offset`` added: a number, or the first of several; None stays, as it asks for chance."""
    if isinstance(seed, str):
        return seed + str(offset)
    if isinstance(seed, bytes | bytearray):
        return seed + str(offset).encode()
    if isinstance(seed, list | tuple) and seed:
        return [_added(seed[0], offset, below), *seed[1:]]
    try:
        changed = int(seed) + offset
    except (TypeError, ValueError):
        return seed
    return changed if below is None else changed % below
