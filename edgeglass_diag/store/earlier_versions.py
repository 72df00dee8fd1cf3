"""Sites and findings of runs of versions 1 and 2, which kept facts in sentences: translated here, once.

What a sentence of those versions does not say in one of the known forms stays unknown: a site's facts keep their
defaults, and a status is ``Coverage.OTHER`` with the sentence as its detail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edgeglass_diag import site_paths
from edgeglass_diag.records import Finding, Site, SourceLine
from edgeglass_diag.site_types import restored
from edgeglass_diag.sites import Coverage, DropoutPlace, Kind, LossFunction, Side
from edgeglass_diag.store import rows

VERSIONS = (1, 2)
"""Versions whose sites and findings are translated here."""

SITES = ("path", "kind", "position", "parents", "label", "status")
"""Columns of their table of sites."""

Facts = dict[str, Any]

STATUSES: Mapping[str, Coverage] = {
    "observed": Coverage.OBSERVED,
    "frozen": Coverage.FROZEN,
    "not called with gradients in the recorded windows": Coverage.NOT_CALLED,
    "trainable, but held by no optimizer that has stepped": Coverage.NOT_HELD,
    "trainable and given a gradient, but held by no optimizer that has stepped": Coverage.NOT_HELD_WITH_GRADIENT,
    "held by an optimizer, but without gradient": Coverage.HELD_WITHOUT_GRADIENT,
    "held by an optimizer, but without gradient (it is frozen)": Coverage.HELD_FROZEN,
    "inside a region compiled by torch.compile, which hooks cannot enter; its inputs and outputs are observed": (
        Coverage.COMPILED
    ),
    "not observed: ran without gradients, where it is left to choose its own kernel": (
        Coverage.KERNEL_WITHOUT_GRADIENTS
    ),
    "not observed: compiled, flex_attention keeps its logits inside": Coverage.KERNEL_COMPILED,
    "not observed: nested tensors are not measured": Coverage.NESTED_TENSOR,
}
"""The statuses of versions 1 and 2 that say all by themselves."""

_STATUSES_WITH_DETAIL = (
    (re.compile(r"recorder failed: (.*)", re.DOTALL), Coverage.RECORDER_FAILED),
    (re.compile(r"windows of (more than \d+ forward passes) are not recorded"), Coverage.TOO_MANY_FORWARDS),
    (re.compile(r"(logsigmoid of \d+-D logits) is no contrastive loss"), Coverage.NOT_CONTRASTIVE),
    (re.compile(r"(binary cross-entropy of other than 2-D logits, or weighted)"), Coverage.NOT_CONTRASTIVE),
)
_SHARDED = re.compile(r"([\dx]*) sharded, here ([\dx]*)")
_SHAPE = re.compile(r"\d+(x\d+)*")
_GROUP = re.compile(r"(?:optimizer(\d+)\.)?group(\d+)")
_EMBEDDING = re.compile(r"(.*)\[:(\d+)\]", re.DOTALL)
_BATCH = re.compile(r"([\dx]*) (\w+)")
_DROPOUT = {
    "without gradients": DropoutPlace.EVALUATION,
    "although all its weights are frozen": DropoutPlace.FROZEN_ENCODER,
}
_UNNAMED = "unnamed"


def site(path: str, kind: str, order: int, parents: str, label: str, status: str) -> Site:
    """Return the site of a row of version 1 or 2; ``parents`` is JSON.

    Kinds that are none today were written for failures of the recorder alone.
    """
    known = Kind(kind) if kind in set(Kind) else Kind.RECORDER
    above = tuple(json.loads(parents))
    facts = _FACTS[known](path, above, label) if known in _FACTS else {}
    coverage, detail = _coverage(status)
    kept = () if known is Kind.PARAMETER else above  # the parent of a parameter was its group
    return restored(known, facts, path=path, order=order, parents=kept, coverage=coverage, detail=detail)


def finding(record: str) -> Finding:
    """Return the finding whose fields are kept as JSON, with the facts that stood in its evidence in their fields."""
    found = rows.finding(record)
    left: dict[str, Any] = dict(found.evidence)
    since, learned_since = left.pop("since", None), left.pop("learned_since", None)
    focus = left.get("first_dead_module") or left.get("most_changed") or ""
    place = SourceLine(left.pop("file"), left.pop("line")) if {"file", "line"} <= left.keys() else None
    return replace(found, evidence=left, since=since, learned_since=learned_since, place=place, focus=focus)


def _coverage(status: str) -> tuple[Coverage, str]:
    if status in STATUSES:
        return STATUSES[status], ""
    for pattern, coverage in _STATUSES_WITH_DETAIL:
        if match := pattern.fullmatch(status):
            return coverage, match[1]
    return Coverage.OTHER, status


def _module(path: str, parents: tuple[str, ...], label: str) -> Facts:
    return {"class_name": label}


def _parameter(path: str, parents: tuple[str, ...], label: str) -> Facts:
    facts: Facts = {}
    if match := _SHARDED.fullmatch(label):
        facts |= {"shape": _shape(match[1]), "local_shape": _shape(match[2])}
    elif _SHAPE.fullmatch(label):
        facts["shape"] = _shape(label)
    if parents and (match := _GROUP.fullmatch(parents[0])):
        facts |= {"optimizer": int(match[1] or 0), "group": int(match[2])}
    return facts


def _attention(path: str, parents: tuple[str, ...], label: str) -> Facts:
    return {"module": parents[0] if parents else "", "queries_from": "" if label == _UNNAMED else label}


def _loss(path: str, parents: tuple[str, ...], label: str) -> Facts:
    name = site_paths.first_call(site_paths.parts(path)[-1]) if path else ""
    function = LossFunction(name) if name in set(LossFunction) else LossFunction.UNKNOWN
    return {"function": function, "reduction": label if label in ("mean", "sum", "none") else ""}


def _embedding(path: str, parents: tuple[str, ...], label: str) -> Facts:
    side = Side(label) if label in set(Side) else Side.UNKNOWN
    match = _EMBEDDING.fullmatch(path)
    return {"module": match[1], "width": int(match[2]), "side": side} if match else {"side": side}


def _pair(path: str, parents: tuple[str, ...], label: str) -> Facts:
    return {"left": parents[0], "right": parents[1]} if len(parents) == 2 else {}


def _batch(path: str, parents: tuple[str, ...], label: str) -> Facts:
    names = site_paths.parts(path)
    facts: Facts = {"module": site_paths.parent(path), "argument": names[-1] if names else ""}
    match = _BATCH.fullmatch(label)
    return facts | ({"shape": _shape(match[1]), "dtype": match[2]} if match else {})


def _reshape(path: str, parents: tuple[str, ...], label: str) -> Facts:
    before, arrow, after = label.partition(" -> ")
    return {"before": _shape(before), "after": _shape(after)} if arrow else {}


def _dropout(path: str, parents: tuple[str, ...], label: str) -> Facts:
    return {"place": _DROPOUT.get(label, DropoutPlace.UNKNOWN)}


def _shape(text: str) -> tuple[int, ...]:
    """Return the shape that ``3x64x64`` names; of a number it is empty."""
    return tuple(int(size) for size in text.split("x") if size)


_FACTS: Mapping[Kind, Callable[[str, tuple[str, ...], str], Facts]] = {
    Kind.MODULE: _module,
    Kind.PARAMETER: _parameter,
    Kind.ATTENTION: _attention,
    Kind.LOSS: _loss,
    Kind.EMBEDDING: _embedding,
    Kind.PAIR: _pair,
    Kind.BATCH: _batch,
    Kind.RESHAPE: _reshape,
    Kind.DROPOUT: _dropout,
}
