"""Whether a finding points at the place of the mistake."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from edgeglass_diag import site_paths
from edgeglass_diag.records import Finding, Window
from edgeglass_diag.sites import EmbeddingSite, Kind, Side
from edgeglass_models.exam.cases import Case


class Place(StrEnum):
    """What a site belongs to, in the words of ``Operator.where``."""

    WHOLE = "whole"
    OPTIMIZER = "optimizer"
    LOSS = "loss"
    DATA = "data"
    MODEL = "model"
    IMAGE = "image side"
    TEXT = "text side"


_OPTIMIZER = re.compile(r"(optimizer\d+\.?)?(group\d+)?")
_KINDS = {
    Kind.LOSS: Place.LOSS, Kind.PAIR: Place.LOSS, Kind.EMBEDDING: Place.LOSS, Kind.BATCH: Place.DATA,
    Kind.PARAMETER: Place.MODEL, Kind.MODULE: Place.MODEL, Kind.ATTENTION: Place.MODEL, Kind.RESHAPE: Place.MODEL,
    Kind.DROPOUT: Place.MODEL, Kind.SOFTMAX: Place.MODEL,
}  # fmt: skip
_IMAGE = ("image", "vision", "visual", "pixel", "picture", "img", "conv", "vit")
_TEXT = ("text", "caption", "language", "token", "word", "input_ids", "attention_mask", "bert")
_WITHOUT_SITE = (Place.OPTIMIZER, Place.LOSS, Place.DATA)
"""What has no module: a finding about the whole training may be about it."""

NEAR = 1
"""Lines by which a place may miss the changed ones: a statement that goes leaves its neighbours."""


def places_of(path: str, windows: Iterable[Window]) -> list[Place]:
    """Return what a site of a record belongs to; a path may be that of sites of several kinds."""
    if not path:
        return [Place.WHOLE]
    found = {_KINDS[site.kind] for w in windows for site in w.sites if site.path == path and site.kind in _KINDS}
    if _OPTIMIZER.fullmatch(path):
        found.add(Place.OPTIMIZER)
    known = [site for w in windows for site in w.sites if site.path == path and isinstance(site, EmbeddingSite)]
    sides = {site.side for site in known}
    words = path.lower()
    if Side.IMAGE in sides or any(word in words for word in _IMAGE):
        found.add(Place.IMAGE)
    if Side.TEXT in sides or any(word in words for word in _TEXT):
        found.add(Place.TEXT)
    return sorted(found)


def is_located(finding: Finding, case: Case, places: Mapping[str, Sequence[Place]]) -> bool:
    """Return whether a finding points at the mistake of a case.

    It does by a line of the program that the mistake has changed, or a neighbour of one, or by a site that belongs to
    what the operator names. A finding about the whole training points at optimizer, loss or data, not at a module.

    Args:
        finding: one that names the fault.
        case: with an operator.
        places: what the sites of the record belong to.
    """
    if case.operator is None:
        return False
    if finding.place is not None and finding.place.file.endswith(f"{case.program}.py"):
        lines = range(finding.place.line - NEAR, finding.place.line + NEAR + 1)
        if not case.changed_lines.isdisjoint(lines):
            return True
    paths = {finding.site, *finding.sites, finding.focus} if finding.focus else {finding.site, *finding.sites}
    return any(_fits(where, path, places.get(path, ())) for where in case.operator.where for path in paths)


def _fits(where: str, path: str, places: Sequence[Place]) -> bool:
    if Place.WHOLE in places:
        return where in _WITHOUT_SITE
    if where in set(Place):
        return where in places
    plain = site_paths.first_call(path)
    return site_paths.is_within(plain, where) or (bool(plain) and site_paths.is_within(where, plain))
