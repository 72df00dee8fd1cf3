"""An evaluation as a document: recalls beside chance, by width, and what the rows of both sides bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgeglass_diag.notebooks.document import Block, Document, Headline, Table, Text
from edgeglass_diag.render.evaluation import bound_lines
from edgeglass_diag.verdict import say

if TYPE_CHECKING:
    from edgeglass_diag.evaluation.evaluate import EvaluationReport

WAYS = {"i2t": "image to text", "t2i": "text to image"}
RECALLS = ("R@1", "R@5", "R@10")


def evaluation_document(report: EvaluationReport) -> Document:
    """Return recalls with interval and chance, by width, and geometry."""
    result: dict[str, Any] = dict(report.values)
    split = f", split {result['split']}" if "split" in result else ""
    bounds = list(bound_lines(result))
    tone = "warning" if bounds else "neutral"
    counts = f"{result['n_images']} images, {result['n_texts']} captions{split}"
    recalls = [_recall(result, way, k) for way in WAYS for k in RECALLS]
    widths = [list(_width(dim, ways)) for dim, ways in result["mrl"].items()]
    blocks: list[Block] = [Headline("WARNING" if bounds else "EVALUATED", tone, counts)]
    blocks += [Text(line) for line in bounds]
    blocks.append(Table(("", "recall", "95 % interval", "chance"), recalls))
    columns = ("dims", "image to text R@1", "text to image R@1", "modality gap", "effective rank (image / text)")
    return [*blocks, Table(columns, widths, "by prefix width")]


def _recall(result: dict[str, Any], way: str, k: str) -> list[str]:
    low, high = result["ci95"][way][k]
    return [f"{WAYS[way]} {k}", say(result[way][k]), f"{say(low)} to {say(high)}", say(result["chance"][way][k])]


def _width(dim: str, ways: dict[str, Any]) -> Iterator[str]:
    shape = ways["geometry"]
    yield dim
    yield from (say(ways[way]["R@1"]) for way in WAYS)
    yield say(shape["modality_gap"])
    yield " / ".join(say(shape["effective_rank"][side]) for side in ("image", "text"))
