"""A map in words and tables: made here for the terminal, the dashboard, the report and notebooks."""

from __future__ import annotations

from collections.abc import Iterator

from edgeglass_diag.explained.phase_map import CellOutcome, KeptMap, MapCell

SIGNS = {
    CellOutcome.LEARNS: "●",
    CellOutcome.DISAGREE: "◐",
    CellOutcome.FAILS: "○",
    CellOutcome.COLLAPSED: "▼",
    CellOutcome.DIVERGED: "∞",
    CellOutcome.CRASHED: "✗",
    CellOutcome.IMPOSSIBLE: "–",
    CellOutcome.NOT_RUN: "…",
}
"""What tells outcomes apart without colours."""

EFFECT_COLUMNS = ("setting", "decides whether it learns", "changes how far", "settings of the others")
LINE_COLUMNS = ("setting", "with", "worst", "best", "loss", "decides")

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, columns and rows."""


def cell_text(cell: MapCell) -> str:
    """Return what stands in a cell: the sign of its outcome, and the mean loss relative to chance where it is finite.

    Seeds that disagree have the number of those that learn.

    >>> cell_text(MapCell(values=("1",), label="a=1", outcome="learns", learned=2, of=2, losses=(-0.3, -0.5)))
    '● -40%'
    """
    count = f" {cell.learned}/{cell.of}" if cell.outcome is CellOutcome.DISAGREE else ""
    return f"{SIGNS[cell.outcome]}{count}{'' if cell.loss is None else f' {_share(cell.loss)}'}"


def cell_words(cell: MapCell) -> str:
    """Return all that is known of a cell in one line.

    >>> cell_words(MapCell(values=("1",), label="a=1", outcome="diverged", of=1, losses=(None,)))
    'a=1: diverged (0/1 learn), loss not finite'
    """
    said = f"{cell.label}: {cell.outcome}"
    if cell.of:
        said += f" ({cell.learned}/{cell.of} learn)"
    if cell.losses:
        said += ", loss " + ", ".join("not finite" if loss is None else _share(loss) for loss in cell.losses)
    if cell.accuracy is not None:
        said += f", in-batch accuracy {cell.accuracy:.1%}"
    return said + (f", {cell.crashed} crashed" if cell.crashed else "")


def legend(found: KeptMap) -> str:
    """Return what the signs mean, of those that the map has."""
    signs = ", ".join(f"{SIGNS[outcome]} {outcome}" for outcome in found.counts())
    return f"{signs}. Percent: the mean loss at the end, relative to chance; with seeds that disagree, how many learn."


def panel_tables(found: KeptMap) -> Iterator[Table]:
    """Yield each part of the map as a table, with the values of the second axis as its rows."""
    corner = found.x.setting if found.y is None else f"{found.y.setting} \\ {found.x.setting}"
    ys = ("",) if found.y is None else found.y.values
    for panel in found.panels():
        rows = [(y, *map(cell_text, row)) for y, row in zip(ys, panel.rows, strict=True)]
        yield panel.title, (corner, *found.x.values), rows


def effect_table(found: KeptMap) -> Table:
    """Return what each setting does: for how many settings of the others."""
    rows: list[tuple[str, ...]] = [
        (each.setting, str(each.decides), str(len(each.where) - each.decides), str(each.lines))
        for each in found.effects
    ]
    return "What each setting does", EFFECT_COLUMNS, rows


def line_table(found: KeptMap) -> Table:
    """Return for which settings of the others a setting makes a difference beyond seeds, and between which values."""
    rows: list[tuple[str, ...]] = [
        (
            effect.setting, line.others, line.worst, line.best,
            f"{_share(line.worst_loss)} to {_share(line.best_loss)}",
            "whether it learns" if line.decides else "how far",
        )
        for effect in found.effects
        for line in effect.where
    ]  # fmt: skip
    return "Where a setting makes a difference", LINE_COLUMNS, rows


def _share(loss: float | None) -> str:
    """Return a loss relative to chance.

    >>> _share(-0.5), _share(0.001), _share(None)
    ('-50%', '0%', 'not finite')
    """
    if loss is None:
        return "not finite"
    return "0%" if abs(loss) < 0.005 else f"{loss:+.0%}" if loss < 100 else f"{loss:+.1e}"
