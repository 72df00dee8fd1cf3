"""The changes that probes make to the inputs of a forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgeglass_diag.probe_sites import ProbedChange
from edgeglass_diag.probing.inputs import Input, InputKind, masks_of

LENGTHENED = 4
"""Positions of padding that are added."""

Change = Callable[[list[Input]], int]
"""Changes new inputs in place, and returns how many it has changed."""


def permuted(number: int) -> Change:
    """Return the change that gives each sample the input of its predecessor; masks go with their tokens."""
    return _exchanged(number, lambda data: data.roll(1, 0))


def shared(number: int) -> Change:
    """Return the change that gives each sample the input of the first; masks go with their tokens."""
    return _exchanged(number, lambda data: data[:1].expand_as(data).clone())


def _exchanged(number: int, exchange: Callable[[Tensor], Tensor]) -> Change:
    def change(inputs: list[Input]) -> int:
        chosen = [each for each in inputs if each.number == number]
        together = [*chosen, *(mask for each in chosen for mask in masks_of(inputs, each) if mask.number != number)]
        moved = [each for each in together if _varies(each.tensor)]
        for each in moved:
            each.tensor.data = exchange(each.tensor.data)
        return sum(each.number == number for each in moved)

    return change


def reversed_tokens(inputs: list[Input]) -> int:
    """Reverse the order of each text between its first and its last token."""
    count = 0
    for each, length in _texts(inputs):
        rows = each.tensor.data.clone()
        for row, end in zip(rows, length.tolist(), strict=True):
            row[1 : end - 1] = row[1 : end - 1].flip(0)
        count += not torch.equal(rows, each.tensor.data)
        each.tensor.data = rows
    return count


def filled_padding(inputs: list[Input]) -> int:
    """Put the first token of each text where a mask says that there is none."""
    count = 0
    for each in _tokens(inputs):
        for mask in masks_of(inputs, each):
            inside = mask.tensor.data != 0
            if bool(inside.all()):
                continue
            tokens = each.tensor.data
            first = tokens.gather(1, inside.byte().argmax(1, keepdim=True))
            each.tensor.data = torch.where(inside, tokens, first)
            count += not torch.equal(each.tensor.data, tokens)
    return count


def lengthened_padding(inputs: list[Input]) -> int:
    """Add positions of padding at the end of texts that end in padding."""
    count = 0
    for each in _tokens(inputs):
        masks = masks_of(inputs, each)
        if _padding(each, masks) is None:
            continue
        for longer in (each, *masks):
            last = longer.tensor.data[_padded_row(each, masks), -1]
            longer.tensor.data = torch.nn.functional.pad(longer.tensor.data, (0, LENGTHENED), value=last.item())
        count += 1
    return count


def first_samples(share: Callable[[int], int]) -> Change:
    """Return the change that keeps the first samples, ``share(B)`` of them."""

    def change(inputs: list[Input]) -> int:
        sizes = [len(each.tensor) for each in inputs]
        batch = max(sizes, key=sizes.count, default=0)
        cut = [each for each in inputs if len(each.tensor) == batch and share(batch) < batch]
        for each in cut:
            each.tensor.data = each.tensor.data[: share(batch)].clone()
        return len(cut)

    return change


def nothing(inputs: list[Input]) -> int:
    """Change nothing."""
    return len(inputs)


CHANGES: dict[ProbedChange, Change] = {
    ProbedChange.NONE: nothing,
    ProbedChange.TOKENS_REVERSED: reversed_tokens,
    ProbedChange.PADDING_FILLED: filled_padding,
    ProbedChange.PADDING_LENGTHENED: lengthened_padding,
    ProbedChange.BATCH_HALVED: first_samples(lambda batch: max(batch // 2, 1)),
    ProbedChange.SAMPLE_ALONE: first_samples(lambda batch: 1),
    ProbedChange.EVALUATION_MODE: nothing,
}
"""The changes that are tried once; exchanges between samples are tried for each input."""


def _varies(tensor: Tensor) -> bool:
    return len(tensor) > 1 and not torch.equal(tensor.data, tensor.data.roll(1, 0))


def _tokens(inputs: list[Input]) -> list[Input]:
    return [each for each in inputs if each.kind is InputKind.TOKENS and each.tensor.shape[1] > 1]


def _texts(inputs: list[Input]) -> list[tuple[Input, Tensor]]:
    """Return the texts with the length of each, as (B,); padding on the left is left alone."""
    found = []
    for each in _tokens(inputs):
        masks = masks_of(inputs, each)
        inside = masks[0].tensor.data != 0 if masks else _inside(each.tensor.data)
        if bool(inside[:, 0].all()):
            found.append((each, inside.sum(1)))
    return found


def _inside(tokens: Tensor) -> Tensor:
    """Return where texts (B, L) are not padding: before the last run of the token that most of them end in."""
    padding = tokens[:, -1].mode().values
    return (tokens != padding).flip(1).cumsum(1).flip(1) > 0


def _padding(tokens: Input, masks: list[Input]) -> int | None:
    """Return the token that texts are padded with at the end, None where none is."""
    if masks:
        outside = (masks[0].tensor.data[:, -1] == 0).nonzero()
        return None if not len(outside) else int(tokens.tensor.data[outside[0, 0], -1])
    lengths = _inside(tokens.tensor.data).sum(1)
    enough = bool((lengths <= tokens.tensor.shape[1] - 2).any()) and bool((lengths != lengths[0]).any())
    return int(tokens.tensor.data[:, -1].mode().values) if enough else None


def _padded_row(tokens: Input, masks: list[Input]) -> int:
    if masks:
        return int((masks[0].tensor.data[:, -1] == 0).nonzero()[0, 0])
    return int((tokens.tensor.data[:, -1] == tokens.tensor.data[:, -1].mode().values).nonzero()[0, 0])
