"""Tensors in what is nested: tuples, lists, dicts, dataclasses, and the batches that tokenizers and collators make."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn.parameter import Parameter

from edgeglass_diag.record.shards import is_foreign

_DEPTH, _ITEMS = 8, 4096
WITHOUT_TENSORS = frozenset({int, float, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size, slice})
"""Classes of what holds no tensor."""
OWN = frozenset({Tensor, Parameter})
"""Classes of torch's own, of which none computes by code of a user."""
_PLAIN = WITHOUT_TENSORS | OWN


def tensors_in(value: object, *, with_foreign: bool = False) -> list[Tensor]:
    """Return the tensors in nested containers, in their order.

    Containers are read as what they are, by no method of their own, and no deeper than ``_DEPTH`` and no further than
    ``_ITEMS`` items: they may hold themselves.

    Args:
        value: what is looked through.
        with_foreign: whether tensors are returned that compute by code of their own (``is_foreign``).
    """
    kind = type(value)
    if kind is Tensor or kind is Parameter:  # what most functions of torch give out
        return [value]  # type: ignore[list-item]
    if isinstance(value, tuple) and kind is tuple and _PLAIN.issuperset(map(type, value)):  # what most are called with
        return [item for item in value[:_ITEMS] if type(item) in OWN]
    found = [tensor for _, tensor in named_tensors(value)]
    return found if with_foreign else [tensor for tensor in found if type(tensor) in OWN or not is_foreign(tensor)]


def arguments_in(args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[Tensor]:
    """Return the tensors that a function was called with, in their order."""
    return tensors_in((*args, *kwargs.values()) if kwargs else args)


def named_tensors(value: object, name: str = "") -> list[tuple[str, Tensor]]:
    """Return the tensors in nested containers with their paths, as ``batch.pixel_values``, in their order.

    Args:
        value: what is looked through, within the bounds of ``tensors_in``.
        name: of the value itself.
    """
    found: list[tuple[str, Tensor]] = []
    _collect(((name, value),), "", _DEPTH, _ITEMS, found)
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
        if kind in WITHOUT_TENSORS or issubclass(kind, Tensor):
            continue
        if (kind is list or kind is tuple) and item and all(type(text) is str for text in item):  # type: ignore[attr-defined]
            found.append((path, list(item)))  # type: ignore[call-overload]
        elif depth:
            prefix = f"{path}." if path else ""
            inner = islice(_contents(kind, item), left)
            waiting += [(f"{prefix}{within}", thing, depth - 1) for within, thing in inner]
    return found


def has_foreign(values: tuple[object, ...]) -> bool:
    """Return whether there is a tensor in it that computes by code of its own (``is_foreign``)."""
    if _PLAIN.issuperset(map(type, values)):  # asked for each function of torch
        return False
    return any(is_foreign(tensor) for tensor in tensors_in(values, with_foreign=True))


def _collect(
    items: Iterable[tuple[object, object]], prefix: str, depth: int, left: int, found: list[tuple[str, Tensor]]
) -> int:
    """Add the tensors of some items to ``found``; return how many more items may be looked at."""
    for name, item in items:
        left -= 1
        if left < 0:
            break
        kind = type(item)
        if kind in WITHOUT_TENSORS:
            continue
        if kind in OWN or issubclass(kind, Tensor):
            found.append((f"{prefix}{name}", item))  # type: ignore[arg-type]
        elif depth:
            path = f"{prefix}{name}"
            left = _collect(_contents(kind, item), f"{path}." if path else "", depth - 1, left, found)
    return left


def _contents(kind: type, item: object) -> Iterable[tuple[object, object]]:
    """Return what a container holds by name, whatever its class makes of iteration; nothing of what is none."""
    if issubclass(kind, tuple):
        return enumerate(tuple.__iter__(item))  # type: ignore[arg-type]
    if issubclass(kind, list):
        return enumerate(list.__iter__(item))  # type: ignore[arg-type]
    if issubclass(kind, dict):
        pairs: Iterable[tuple[object, object]] = dict.items(item)  # type: ignore[arg-type]
        return ((key if type(key) is str else place, value) for place, (key, value) in enumerate(pairs))
    if issubclass(kind, (UserDict, SimpleNamespace)):
        held = object.__getattribute__(item, "__dict__")
        inner = held.get("data") if issubclass(kind, UserDict) else held
        return _contents(type(inner), inner)
    if isinstance(vars(kind).get("__dataclass_fields__"), dict):
        return _fields(kind, item)
    return ()


def _fields(kind: type, item: object) -> Iterator[tuple[object, object]]:
    for field in vars(kind)["__dataclass_fields__"]:
        try:
            yield field, object.__getattribute__(item, field)
        except AttributeError:  # a field that was never set
            continue
