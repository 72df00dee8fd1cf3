"""A signal of a run as the matrices that heatmaps are drawn from, and the model at one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeglass_diag.figures.profile import Stage
from edgeglass_diag.store import Run

if TYPE_CHECKING:
    import pandas as pd

_EXACT = 10**9


def read_matrix(run: Run, signal: str, *, component: str, bins: int = _EXACT, after: int = 0) -> Any | None:
    """The matrix of a signal with what was written after a row; None where nothing was."""
    if signal not in run.signals:
        return None
    matrix = run.matrix(signal, bins=bins, component=component, after=after)
    return matrix if matrix.sites and matrix.edges else None


def read_heads(run: Run, signal: str, site: str, *, bins: int = _EXACT, after: int = 0) -> pd.DataFrame | None:
    """The history of the components of a site with what was written after a row; None where nothing was."""
    if signal not in run.signals:
        return None
    frame = run.heads(signal, site, bins=bins, after=after)
    return None if frame.empty else frame


def profile_at(run: Run, step: int | None) -> tuple[int | None, list[Stage]]:
    """The recorded step at or before ``step`` (the newest where None), and the stages of the model there.

    Modules in order of execution, at the end each side's widest embedding as the loss compares it.
    """
    found = _column(run, "activation/sample_signal", step)
    if found is None:
        return None, []
    at, values = found
    stages = [
        Stage(site.path, values[site.path], site.parents, site.label)
        for site in run.sites
        if site.kind == "module" and site.path in values
    ]
    _, embeddings = _column(run, "embedding/sample_signal", at) or (at, {})
    return at, stages + _widest(run, embeddings)


def _column(run: Run, signal: str, step: int | None) -> tuple[int, dict[str, float]] | None:
    """The newest column of a signal at or before a step, by site."""
    import numpy as np

    matrix = read_matrix(run, signal, component="mean")
    if matrix is None:
        return None
    last = len(matrix.edges) if step is None else int(np.searchsorted(matrix.edges, step, side="right"))
    if last == 0:
        return None
    column = last - 1
    recorded = np.flatnonzero(matrix.count[:, column]).tolist()
    return int(matrix.edges[column]), {matrix.sites[row]: float(matrix.low[row, column]) for row in recorded}


def _widest(run: Run, embeddings: dict[str, float]) -> list[Stage]:
    """The widest of the embeddings ``SIDE[:WIDTH]`` of each side."""
    known = {site.path: site for site in run.sites if site.kind == "embedding"}
    widest: dict[str, str] = {}
    for site in sorted(embeddings, key=width_of):
        widest[site.rpartition("[:")[0]] = site
    return [Stage(s, embeddings[s], known[s].parents, known[s].label) for s in widest.values() if s in known]


def width_of(site: str) -> int:
    """The width that an embedding's site ``SIDE[:WIDTH]`` names, 0 without one."""
    digits = site.rpartition("[:")[2].rstrip("]")
    return int(digits) if digits.isdigit() else 0
