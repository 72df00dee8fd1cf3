"""What the figures of evaluation passes are drawn from: recall and loss by step, of all losses and by prefix width."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.evaluation import (
    EVALUATION_CHANCE,
    EVALUATION_LOSS,
    EVALUATION_PASSES,
    EVALUATION_RECALL,
    EVALUATION_RECALL_CHANCE,
    EVALUATION_RECALL_HIGH,
    EVALUATION_RECALL_LOW,
    EVALUATION_RECALL_ROWS,
    EVALUATION_WIDTH_LOSS,
)
from edgeglass_diag.signals.losses import LOSS_VALUE, LOSS_WIDTH
from edgeglass_diag.sites import EmbeddingSite, PairSite

if TYPE_CHECKING:
    import pandas as pd

Run = Any
"""An ``edgeglass_diag.Run``: figures know no store."""

_BINS = 400
_RECALLS = {
    "value": EVALUATION_RECALL,
    "low": EVALUATION_RECALL_LOW,
    "high": EVALUATION_RECALL_HIGH,
    "chance": EVALUATION_RECALL_CHANCE,
    "rows": EVALUATION_RECALL_ROWS,
}
PHASES = ("training", "validation")


def evaluations(run: Run) -> int:
    """Return a number that grows with each evaluation that is recorded; 0 before the first one."""
    return 0 if EVALUATION_PASSES not in run.signals else int(run.matrix(EVALUATION_PASSES, bins=1).last_row)


def read_recalls(run: Run) -> pd.DataFrame:
    """Return R@1 within the batch in evaluations, sorted by step: columns step, module, side, width and the numbers.

    The numbers are ``value``, ``low`` and ``high`` (ends of the 95 % interval), ``chance`` and ``rows``; all but the
    last in [0, 1].
    """
    import pandas as pd

    sites = {site.path: site for site in run.sites if isinstance(site, EmbeddingSite)}
    columns = {name: _values(run, signal) for name, signal in _RECALLS.items()}
    rows = [
        (step, sites[path].module, str(sites[path].side), sites[path].width,
         *(columns[name].get((path, step), np.nan) for name in _RECALLS))
        for path, step in columns["value"] if path in sites
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["step", "module", "side", "width", *_RECALLS])
    return frame[frame["value"].notna()].sort_values("step", kind="stable", ignore_index=True)


def read_losses(run: Run) -> pd.DataFrame:
    """Return the loss of training and of evaluations, sorted by step: columns step, phase, value (nats).

    It is the mean of the losses that both phases have, each with the same weight; where they have none in common, of
    those of the evaluation alone. ``phase`` is ``training``, ``validation`` or ``chance`` (the same mean where nothing
    is known, where all of the losses have that).
    """
    import pandas as pd

    told = {name: _values(run, signal) for name, signal in
            (("training", LOSS_VALUE), ("validation", EVALUATION_LOSS), ("chance", EVALUATION_CHANCE))}  # fmt: skip
    both = {path for path, _ in told["training"]} & {path for path, _ in told["validation"]}
    kept = both or {path for path, _ in told["validation"]}
    rows = []
    for phase, values in told.items():
        by_step: dict[int, list[float]] = defaultdict(list)
        for (path, step), value in values.items():
            if path in kept:
                by_step[step].append(value)
        whole = len(kept)
        rows += [(step, phase, float(np.mean(each))) for step, each in by_step.items() if len(each) == whole]
    frame = pd.DataFrame(rows, columns=["step", "phase", "value"])
    return frame.sort_values("step", kind="stable", ignore_index=True)


def read_width_losses(run: Run) -> pd.DataFrame:
    """Return the loss by prefix width in both phases, sorted by step: columns step, phase, width, value (nats).

    Of several comparisons it is the one that has the most widths; empty where none has more than one.
    """
    import pandas as pd

    sites = run.sites
    embeddings = {site.path: site for site in sites if isinstance(site, EmbeddingSite)}
    sides = {
        site.path: embeddings[site.left] for site in sites if isinstance(site, PairSite) and site.left in embeddings
    }
    rows = [
        (step, phase, sides[path].module, sides[path].width, value)
        for phase, signal in zip(PHASES, (LOSS_WIDTH, EVALUATION_WIDTH_LOSS), strict=True)
        for (path, step), value in _values(run, signal).items()
        if path in sides
    ]
    frame = pd.DataFrame(rows, columns=["step", "phase", "module", "width", "value"])
    found = of_most_widths(frame).groupby(["step", "phase", "width"])["value"].mean().reset_index()
    return found.sort_values("step", kind="stable", ignore_index=True)


def of_most_widths(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the modules that are compared at the most widths; none where that is one width.

    Args:
        frame: with columns ``module`` and ``width``.
    """
    counts = frame.groupby("module")["width"].nunique()
    most = counts.max() if len(counts) else 0
    return frame[frame["module"].isin(counts[counts == most].index)] if most > 1 else frame.iloc[:0]


def _values(run: Run, signal: Signal) -> dict[tuple[str, int], float]:
    """A signal by site and step, rising by step; of more steps than a screen shows the middle of each column."""
    if signal not in run.signals:
        return {}
    matrix = run.matrix(signal, bins=_BINS)
    middle = np.where(matrix.nans > 0, np.nan, (matrix.low.astype(float) + matrix.high) / 2)
    found = zip(*np.nonzero(matrix.count.T), strict=True)
    return {(matrix.sites[row], int(matrix.edges[column])): float(middle[row, column]) for column, row in found}
