"""Tensors in what is nested: tuples, lists, dicts, dataclasses, and the batches that tokenizers and collators make."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterable, Iterator
from itertools import islice
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn.parameter import Parameter

from edgeglass_diag.record.shards import is_foreign

_DEPTH, _ITEMS = 8, 4096
_WITHOUT_TENSORS = frozenset({int, float, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size, slice})
_PLAIN = _WITHOUT_TENSORS | {Tensor, Parameter}


def tensors_in(value: object, *, with_foreign: bool = False) -> list[Tensor]:
    """Return the tensors in nested containers, in their order.

    Containers are read as what they are, by no method of their own, and no deeper than ``_DEPTH`` and no further than
    ``_ITEMS`` items: they may hold themselves.

    Args:
        value: what is looked through.
        with_foreign: whether tensors are returned that compute by code of their own (``is_foreign``).
    """
    found = [tensor for _, tensor in named_tensors(value)]
    return found if with_foreign else [tensor for tensor in found if not is_foreign(tensor)]


def named_tensors(value: object, name: str = "") -> list[tuple[str, Tensor]]:
    """Return the tensors in nested containers with their paths, as ``batch.pixel_values``, in their order.

    Args:
        value: what is looked through, within the bounds of ``tensors_in``.
        name: of the value itself.
    """
    found: list[tuple[str, Tensor]] = []
    _collect([(name, value)], _DEPTH, _ITEMS, found)
    return found


def named_texts(value: object, name: str = "") -> list[tuple[str, list[str]]]:
    """Return the lists and tuples of strings alone in nested containers, with their paths.

    Args:
        value: what is looked through, within the bounds of ``tensors_in``.
        name: of the value itself.
    """
    found: list[tuple[str, list[str]]] = []
    waiting, left = [(name, value, _DEPTH)], _ITEMS
    while waiting and left:
        path, item, depth = waiting.pop()
        left -= 1
        kind = type(item)
        if kind in _WITHOUT_TENSORS or issubclass(kind, Tensor):
            continue
        if (kind is list or kind is tuple) and item and all(type(text) is str for text in item):  # type: ignore[attr-defined]
            found.append((path, list(item)))  # type: ignore[call-overload]
        elif depth:
            inner = islice(_contents(kind, item, f"{path}." if path else ""), left)
            waiting += [(within, thing, depth - 1) for within, thing in inner]
    return found


def has_foreign(values: tuple[object, ...]) -> bool:
    """Return whether there is a tensor in it that computes by code of its own (``is_foreign``)."""
    if _PLAIN.issuperset(map(type, values)):  # asked for each function of torch
        return False
    return any(is_foreign(tensor) for tensor in tensors_in(values, with_foreign=True))


def _collect(items: Iterable[tuple[str, object]], depth: int, left: int, found: list[tuple[str, Tensor]]) -> int:
    """Add the tensors of some items to ``found``; return how many more items may be looked at."""
    for name, item in items:
        left -= 1
        if left < 0:
            break
        kind = type(item)
        if kind in _WITHOUT_TENSORS:
            continue
        if issubclass(kind, Tensor):
            found.append((name, item))  # type: ignore[arg-type]
        elif depth:
            left = _collect(_contents(kind, item, f"{name}." if name else ""), depth - 1, left, found)
    return left


def _contents(kind: type, item: object, prefix: str) -> Iterator[tuple[str, object]]:
    """Yield what a container holds by name, whatever its class makes of iteration; nothing of what is none."""
    if issubclass(kind, tuple):
        yield from _numbered(tuple.__iter__(item), prefix)  # type: ignore[arg-type]
    elif issubclass(kind, list):
        yield from _numbered(list.__iter__(item), prefix)  # type: ignore[arg-type]
    elif issubclass(kind, dict):
        pairs: Iterable[tuple[object, object]] = dict.items(item)  # type: ignore[arg-type]
        yield from (
            (f"{prefix}{key if type(key) is str else place}", value) for place, (key, value) in enumerate(pairs)
        )
    elif issubclass(kind, (UserDict, SimpleNamespace)):
        held = object.__getattribute__(item, "__dict__")
        inner = held.get("data") if issubclass(kind, UserDict) else held
        yield from _contents(type(inner), inner, prefix)
    elif isinstance(vars(kind).get("__dataclass_fields__"), dict):
        for field in vars(kind)["__dataclass_fields__"]:
            try:
                yield f"{prefix}{field}", object.__getattribute__(item, field)
            except AttributeError:  # a field that was never set
                continue


def _numbered(values: Iterable[object], prefix: str) -> Iterator[tuple[str, object]]:
    return ((f"{prefix}{place}", value) for place, value in enumerate(values))
