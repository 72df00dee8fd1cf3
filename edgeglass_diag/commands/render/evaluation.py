"""What ``eval`` prints on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from edgeglass_diag.measures.quantisation import BITS
from edgeglass_diag.render.evaluation import bound_lines

WAYS = ("i2t", "t2i")
RECALLS = ("R@1", "R@5", "R@10")


def evaluation_tables(result: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield the recalls with interval and chance, prefixes, the curve with its knee, geometry."""
    yield from bound_lines(result)
    yield _recalls(result)
    yield _prefixes(result)
    if "curve" in result:
        yield _curve(result["curve"])
        yield _knee(result["curve"]["knee"])
    yield _geometry(result)
    yield from _hubness(result["geometry"]["hubness"])


def _recalls(result: dict[str, Any]) -> Table:
    """Return one row for each direction and K: recall, its interval, chance."""
    split = f", split {result['split']}" if "split" in result else ""
    data = f" of {result['data']}" if "data" in result else ""
    title = f"{result['n_images']} images, {result['n_texts']} captions{split}{data}"
    table = Table("", "recall", "95 % interval", "chance", title=title)
    for way in WAYS:
        for k in RECALLS:
            low, high = result["ci95"][way][k]
            table.add_row(
                f"{way} {k}", f"{result[way][k]:.3f}", f"{low:.3f} to {high:.3f}", f"{result['chance'][way][k]:.4f}"
            )
    return table


def _prefixes(result: dict[str, Any]) -> Table:
    """Return two rows for each width, one for each direction."""
    table = Table("dims", "saved", "", *RECALLS, "median rank", "MRR", title="by prefix width")
    full = max(int(dim) for dim in result["mrl"])
    for dim, ways in result["mrl"].items():
        for way in WAYS:
            recalls = [f"{ways[way][k]:.3f}" for k in RECALLS]
            rest = [f"{ways[way]['median_rank']:g}", f"{ways[way]['MRR']:.3f}"]
            table.add_row(dim, f"{full / int(dim):g}x", way, *recalls, *rest)
    return table


def _curve(curve: dict[str, Any]) -> Table:
    """Return the mean R@1 of both directions for each way (columns) and width (rows)."""
    ways = list(dict.fromkeys(row["way"] for row in curve["rows"]))
    cells = {(row["way"], row["dims"]): (row["i2t"]["R@1"] + row["t2i"]["R@1"]) / 2 for row in curve["rows"]}
    saved = {row["dims"]: f"{row['saved']:g}x" for row in curve["rows"] if row["way"] == "prefix"}
    names = [f"{way} ({BITS['float32'] / BITS[way]:g}x)" if way in BITS else way for way in ways]
    table = Table("dims", "saved", *names, title="MRL curve: mean R@1 of both directions")
    for dim in saved:
        shown = [f"{cells[way, dim]:.3f}" if (way, dim) in cells else "" for way in ways]
        table.add_row(str(dim), saved[dim], *shown)
    return table


def _knee(knee: dict[str, Any] | None) -> str:
    if knee is None:
        return "knee: none; the curve does not bend downwards"
    return f"knee: {knee['dims']} dims, {knee['saved']:g}x less storage ({knee['definition']}; {knee['source']})"


def _geometry(result: dict[str, Any]) -> Table:
    """Return one row for each width."""
    table = Table("dims", "modality gap", "alignment", "uniformity", "effective rank", title="geometry (image / text)")
    for dim, entry in result["mrl"].items():
        shape = entry["geometry"]
        uniform, rank = (
            " / ".join(f"{shape[name][side]:{form}}" for side in ("image", "text"))
            for name, form in (("uniformity", ".3f"), ("effective_rank", ".1f"))
        )
        table.add_row(dim, f"{shape['modality_gap']:.3f}", f"{shape['alignment']:.3f}", uniform, rank)
    return table


def _hubness(hubness: dict[str, Any]) -> Iterator[Table]:
    """Yield one row for each direction that has candidates; none where neither has."""
    rows = [(way, what, hubness[way]) for way, what in (("i2t", "captions"), ("t2i", "images")) if hubness[way]]
    if not rows:
        return
    places = max(found["k"] for _, _, found in rows)
    table = Table("", "skew", "never found", "most often", title=f"hubness: who stands among the first {places}")
    for way, what, found in rows:
        cells = f"{found['skew']:.2f}", f"{found['never']:.0%}", f"{found['largest']:.4g} times"
        table.add_row(f"{way}, {what}", *cells)
    yield table
