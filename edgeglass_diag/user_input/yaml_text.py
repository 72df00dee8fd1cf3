"""YAML of a user, safely: no tags of Python, aliases counted as what they stand for, keys once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from edgeglass_diag.errors import UsageError
from edgeglass_diag.user_input.limits import DEPTH, SETTINGS_BYTES, SETTINGS_NODES

Place = tuple[str | int, ...]


def parse_yaml(text: str, where: str) -> tuple[Any, dict[Place, int]]:
    """Return the value of a YAML document, and the line of each key by its place.

    Args:
        text: one document.
        where: file or option, for messages.

    Raises:
        UsageError: for what is no YAML, a key that a mapping has twice, a value that its tag does not allow, aliases
            that lead to themselves or stand for too much, and more than ``DEPTH`` levels.
    """
    if len(text) > SETTINGS_BYTES:
        raise UsageError(f"{where}: expected at most {SETTINGS_BYTES} characters of YAML, got {len(text)}")
    with _said(where):
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, {}
            _check_size(node)
            lines = dict(_lines(node, ()))
            return loader.construct_document(node), lines
        finally:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """The safe loader with a bound on nesting, which refuses a key that a mapping has twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH:
            mark = self.get_mark()
            raise ComposerError(None, None, f"expected at most {DEPTH} levels within each other, got more", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConstructorError(None, None, "expected keys of text", key.start_mark)
            if (key.tag, key.value) in seen:
                raise ConstructorError(None, None, f"expected each key once, got {key.value!r} twice", key.start_mark)
            if key.tag != _MERGE:
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


_MERGE = "tag:yaml.org,2002:merge"


@contextmanager
def _said(where: str) -> Iterator[None]:
    try:
        yield
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except (ValueError, OverflowError, TypeError, AttributeError, LookupError) as error:  # of dates, numbers, sets
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{where}: not valid YAML: a value does not fit its tag: {error}") from error


def _check_size(root: yaml.Node) -> None:
    """Check the number of nodes with aliases written out; the walk itself visits each node once.

    Raises:
        ComposerError: for an alias that leads to itself, or too many.
    """
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        key = id(node)
        if key in open_nodes:
            raise ComposerError(None, None, "an alias leads to itself", node.start_mark)
        if key not in sizes:
            open_nodes.add(key)
            sizes[key] = 1 + sum(map(size, _inner(node)))
            open_nodes.discard(key)
        return sizes[key]

    if size(root) > SETTINGS_NODES:
        words = f"expected at most {SETTINGS_NODES} values with aliases written out, got {size(root)}"
        raise ComposerError(None, None, words, root.start_mark)


def _inner(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _lines(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
