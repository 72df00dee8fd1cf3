"""Paths of sites: made here, and taken apart here alone. A module's path is torch's own, with dots between names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_CALL = re.compile(r"#\d+")
_WIDTH = re.compile(r"\[:\d+\]")


def child(path: str, name: str) -> str:
    """Return the path of what is called ``name`` in the module at ``path``.

    >>> child("head", "weight"), child("", "weight")
    ('head.weight', 'weight')
    """
    return f"{path}.{name}" if path else name


def parent(path: str) -> str:
    """Return the path of the module that holds this module or parameter; empty for one of the whole model.

    >>> parent("blocks.0.attn"), parent("head")
    ('blocks.0', '')
    """
    return path.rpartition(".")[0]


def parts(path: str) -> list[str]:
    """Return the names that a path consists of, outermost first; none for the whole model.

    >>> parts("blocks.0.attn"), parts("")
    (['blocks', '0', 'attn'], [])
    """
    return path.split(".") if path else []


def common(paths: Sequence[str]) -> str:
    """Return the path of the innermost module that all paths lie in, or the only path itself.

    >>> common(["head.0.weight", "head.1.bias"]), common(["head.weight"]), common(["a.w", "b.w"])
    ('head', 'head.weight', '')
    """
    shared: list[str] = []
    for names in zip(*map(parts, paths), strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)


def is_within(path: str, outer: str) -> bool:
    """Return whether ``path`` is ``outer`` or lies in it; everything lies in the whole model.

    >>> is_within("head.weight", "head"), is_within("head", "head"), is_within("header", "head"), is_within("a", "")
    (True, True, False, True)
    """
    return not outer or path == outer or path.startswith(f"{outer}.")


def call(path: str, number: int) -> str:
    """Return the path of call ``number``, from 0, of a module within one forward pass.

    >>> call("norm", 0), call("norm", 2)
    ('norm', 'norm#2')
    """
    return f"{path}#{number}" if number else path


@lru_cache(maxsize=2**14)
def first_call(path: str) -> str:
    """Return the path of the first call: without the number of a later one.

    >>> first_call("norm#2.attention"), first_call("norm")
    ('norm.attention', 'norm')
    """
    return _CALL.sub("", path)


def call_number(path: str) -> int:
    """Return the number of a call within a forward pass, 0 for the first.

    >>> call_number("norm#2"), call_number("norm")
    (2, 0)
    """
    number = path.partition("#")[2].partition(".")[0]
    return int(number) if number else 0


def group(optimizer: int, number: int) -> str:
    """Return the path of a parameter group, by the number of its optimizer and its own.

    >>> group(0, 1), group(2, 0)
    ('group1', 'optimizer2.group0')
    """
    return f"optimizer{optimizer}.group{number}" if optimizer else f"group{number}"


def one_optimizer(number: int) -> str:
    """Return the path of what is measured of one optimizer where there are several; of all it has an empty path.

    >>> one_optimizer(0), one_optimizer(1)
    ('optimizer0', 'optimizer1')
    """
    return f"optimizer{number}"


def embedding(module: str, width: int) -> str:
    """Return the path of the first ``width`` dimensions of a module's output.

    >>> embedding("head", 64)
    'head[:64]'
    """
    return f"{module}[:{width}]"


def without_width(path: str) -> str:
    """Return the path of what an embedding is the first dimensions of.

    >>> without_width("head[:64]"), without_width("head")
    ('head', 'head')
    """
    return _WIDTH.sub("", path)


def pair(left: str, right: str) -> str:
    """Return the path of the product of two embeddings.

    >>> pair("image[:64]", "text[:64]")
    'image[:64] x text[:64]'
    """
    return f"{left} x {right}"


def kin(path: str) -> tuple[str, ...]:
    """Return what all layers of one kind share: the names of a path with every number left out, and no call.

    Paths with the same kin differ only in their layer, their call, or the width of an embedding.

    >>> kin("blocks.3.attn.attention#1") == kin("blocks.11.attn.attention"), kin("head[:64]") == kin("head[:128]")
    (True, True)
    >>> kin("attn#1.attention") == kin("attn.attention"), kin("a[:8] x b[:8]") == kin("a[:4] x b[:4]")
    (True, True)
    >>> kin("image.proj") == kin("text.proj"), kin("a[:8] x b[:8]") == kin("a[:8] x c[:8]")
    (False, False)
    """
    plain = _WIDTH.sub("", first_call(path))
    return tuple("*" if name.isdecimal() else name for name in plain.split("."))
