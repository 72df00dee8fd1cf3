"""Holds what models are called with in a window, as samples of the pairs that a loss compares."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from edgeglass_diag.pair_samples import MOST_CHARACTERS, MOST_PAIRS, PairSamples, Wording
from edgeglass_diag.record import buffer
from edgeglass_diag.record.nested import named_tensors, named_texts
from edgeglass_diag.record.observer import ModuleCall, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_measurable
from edgeglass_diag.record.thumbnails import is_picture, thumbnails
from edgeglass_diag.record.token_texts import as_ids, decoded
from edgeglass_diag.sites import Kind

_CALLS, _INPUTS, _TOKENS = 8, 64, 128
"""Calls of a window that are remembered, inputs of a call that are looked at, tokens of a text that are kept."""
_NO_WORDS = ("mask", "type", "position", "label", "length")
"""Parts of the names of integers that are no tokens."""


@dataclass
class _Inputs:
    """What one outermost module was called with: (rows, values) of pictures, tokens and texts."""

    pictures: list[tuple[int, Tensor]] = field(default_factory=list)
    tokens: list[tuple[int, Tensor]] = field(default_factory=list)
    texts: list[tuple[int, list[str]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PendingSamples:
    """Samples of the pairs of a step on their way to the host; ``resolve`` is for the thread that writes."""

    pictures: Tensor | None
    tokens: tuple[Tensor, ...]
    texts: tuple[tuple[str, ...], ...]
    note: str

    def resolve(self) -> PairSamples:
        """Return pictures and captions; the events of their copies have passed."""
        pictures = np.zeros((0, 1, 1, 1), np.uint8) if self.pictures is None else self.pictures.numpy()
        if self.texts:
            return PairSamples(pictures, _joined(self.texts), Wording.TEXTS, self.note)
        if not self.tokens:
            return PairSamples(pictures, (), Wording.NONE, self.note)
        rows = [values.tolist() for values in self.tokens]
        words = [_words(values) for values in rows]
        if any(texts is None for texts in words):
            return PairSamples(
                pictures, _joined([[as_ids(row) for row in values] for values in rows]), Wording.IDS, self.note
            )
        return PairSamples(pictures, _joined([texts for texts in words if texts]), Wording.DECODED, self.note)


class PairInputObserver(Observer):
    """Remembers the newest inputs of outermost modules until pairs have been compared.

    An input belongs to the pairs if it has a row for each of them. Where it has not, as where a loss compares with what
    other ranks have sent, or with several captions of a picture, nothing is kept of it.

    Args:
        recording: state of the watch.
        is_wanted: whether anything is kept at all.
    """

    def __init__(self, recording: Recording, *, is_wanted: bool) -> None:
        self._recording, self.is_wanted = recording, is_wanted
        self._calls: deque[_Inputs] = deque(maxlen=_CALLS)
        self._found, self._complete = False, False

    def module_ends(self, call: ModuleCall) -> None:
        """Take what an outermost module was called with."""
        if not self.is_wanted or self._complete or not call.is_outermost:
            return
        self._complete = self._found
        with self._recording.measuring("samples", Kind.RECORDER):
            inputs = _inputs_of(call)
            if inputs.pictures or inputs.tokens or inputs.texts:
                self._calls.append(inputs)

    def compared(self) -> None:
        """Take note that pairs are compared, by a loss outside of the model or inside of the call that is running."""
        self._found = True
        self._complete = self._complete or not self._recording.stack.frames

    def forget(self) -> None:
        """Forget the inputs of the window."""
        self._calls.clear()
        self._found = self._complete = False

    def take(self, rows: int) -> PendingSamples | None:
        """Return the samples of pairs on their device, None where none are wanted.

        Args:
            rows: pairs that were compared.
        """
        if not self.is_wanted:
            return None
        calls = list(reversed(self._calls))
        pictures = [values for call in calls for count, values in reversed(call.pictures) if count == rows]
        texts = [values for call in calls for count, values in reversed(call.texts) if count == rows]
        tokens = [values for call in calls for count, values in reversed(call.tokens) if count == rows]
        most = 1 if pictures else 2  # of two texts that are a pair both
        note = "" if pictures and (texts or tokens) else self._missing(rows, bool(pictures), bool(texts or tokens))
        return PendingSamples(
            pictures[0] if pictures else None,
            () if texts else tuple(reversed(tokens[:most])),
            tuple(tuple(words) for words in reversed(texts[:most])),
            note,
        )

    def _missing(self, rows: int, has_pictures: bool, has_texts: bool) -> str:
        counts = {
            "pictures": [] if has_pictures else [count for call in self._calls for count, _ in call.pictures],
            "captions": [] if has_texts else [n for call in self._calls for n, _ in (*call.tokens, *call.texts)],
        }
        said = [
            f"no {name}: the models were called with {count} rows, the loss compared {rows} pairs"
            for name, found in counts.items()
            for count in found[-1:]
        ]
        return "; ".join(said) if said or has_pictures or has_texts else "no input of the models is pictures or texts"


def to_host(samples: PendingSamples, ready: list[torch.Event]) -> PendingSamples:
    """Return samples whose copies to the host have begun; they are there once the events in ``ready`` have passed."""

    def copied(values: Tensor) -> Tensor:
        return buffer.to_host([values], ready).reshape(values.shape)

    pictures = None if samples.pictures is None else copied(samples.pictures)
    return PendingSamples(pictures, tuple(map(copied, samples.tokens)), samples.texts, samples.note)


def _inputs_of(call: ModuleCall) -> _Inputs:
    found = _Inputs()
    positional = ((f"input{place}", value) for place, value in enumerate(call.arguments))
    arguments = [*positional, *call.keywords.items()]
    tensors = [named for name, value in arguments for named in named_tensors(value, name)]
    for name, value in tensors[:_INPUTS]:
        if is_picture(value):
            found.pictures.append((len(value), thumbnails(value)))
        elif _is_words(name, value):
            kept = value.detach()[:MOST_PAIRS, :_TOKENS].to(torch.int64, copy=True)
            found.tokens.append((len(value), kept))
    for name, value in arguments:
        found.texts += [(len(words), words[:MOST_PAIRS]) for _, words in named_texts(value, name)]
    return found


def _is_words(name: str, value: Tensor) -> bool:
    if value.dim() != 2 or value.dtype not in (torch.int64, torch.int32) or not is_measurable(value):
        return False
    return min(value.shape) > 1 and not any(word in name.rpartition(".")[2].lower() for word in _NO_WORDS)


def _joined(texts: tuple[tuple[str, ...], ...] | list[list[str]]) -> tuple[str, ...]:
    return tuple(" | ".join(row)[:MOST_CHARACTERS] for row in zip(*texts, strict=True))


def _words(rows: list[list[int]]) -> list[str] | None:
    try:
        return decoded(rows)
    except Exception:  # of a tokenizer of the program: the ids tell texts apart as well
        return None
