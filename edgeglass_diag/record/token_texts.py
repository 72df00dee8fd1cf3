"""The words behind token ids, where the program has built a tokenizer that tells them; for the thread that writes."""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Iterator, Sequence
from typing import Any

_FAMILIES = {
    "transformers.tokenization_utils_base": "PreTrainedTokenizerBase",
    "open_clip.tokenizer": "SimpleTokenizer",
    "clip.simple_tokenizer": "SimpleTokenizer",
}
"""Class of the tokenizers of a library, by the module that has it; none is imported."""
_CLIP_WORDS = ("<start_of_text>", "<end_of_text>", "<|startoftext|>", "<|endoftext|>")
_SHOWN = 24
"""Ids of a text that are written where they are not decoded."""


def decoded(rows: Sequence[Sequence[int]]) -> list[str] | None:
    """Return the texts behind token ids; None where not exactly one tokenizer of the program fits them.

    It works on a copy of the tokenizer, which the program may be using at the same time.
    """
    fitting = {_identity(tokenizer): tokenizer for tokenizer in _tokenizers() if _fits(tokenizer, rows)}
    if len(fitting) != 1:
        return None
    (tokenizer,) = fitting.values()
    own = copy.deepcopy(tokenizer)
    return [_decoded(own, row) for row in rows]


def as_ids(row: Sequence[int]) -> str:
    """Return token ids as a text, without the zeros at the end.

    >>> as_ids([49406, 320, 49407, 0, 0])
    'token ids 49406 320 49407'
    """
    ids = list(row)
    while ids and ids[-1] == 0:
        ids.pop()
    return " ".join(["token ids", *map(str, ids[:_SHOWN]), *(["..."] if len(ids) > _SHOWN else [])])


def _tokenizers() -> Iterator[Any]:
    bases = [getattr(sys.modules[module], name, None) for module, name in _FAMILIES.items() if module in sys.modules]
    kinds = {kind for base in bases if isinstance(base, type) for kind in _below(base)}
    if kinds:
        yield from (thing for thing in gc.get_objects() if type(thing) in kinds)


def _below(base: type) -> Iterator[type]:
    yield base
    inner: type
    for inner in base.__subclasses__():
        yield from _below(inner)


def _identity(tokenizer: Any) -> tuple[str, int, str]:
    return type(tokenizer).__name__, int(tokenizer.vocab_size), str(getattr(tokenizer, "name_or_path", ""))


def _fits(tokenizer: Any, rows: Sequence[Sequence[int]]) -> bool:
    """Return whether ids may be those of a tokenizer: within its vocabulary, between its marks of begin and end."""
    try:
        if _is_clip(tokenizer):
            first, last = tokenizer.encoder[_CLIP_WORDS[0]], tokenizer.encoder[_CLIP_WORDS[1]]
            return all(row[0] == first and last in row for row in rows)
        size = len(tokenizer)
    except Exception:  # of a class that only looks like one, or a tokenizer that is being built
        return False
    return all(0 <= token < size for row in rows for token in row)


def _is_clip(tokenizer: Any) -> bool:
    return isinstance(getattr(tokenizer, "encoder", None), dict) and _CLIP_WORDS[0] in tokenizer.encoder


def _decoded(tokenizer: Any, row: Sequence[int]) -> str:
    if not _is_clip(tokenizer):
        return str(tokenizer.decode(list(row), skip_special_tokens=True)).strip()
    text = str(tokenizer.decode(list(row[: row.index(tokenizer.encoder[_CLIP_WORDS[1]])])))
    for word in _CLIP_WORDS:
        text = text.replace(word, "")
    return text.strip()
