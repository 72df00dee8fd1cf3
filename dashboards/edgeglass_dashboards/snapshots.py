"""Embeddings that a run kept at some of its steps, and what is drawn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeglass_dashboards.context import Context
from edgeglass_diag.extras import MissingExtraError
from edgeglass_diag.pair_samples import NO_SAMPLES, PairSamples
from edgeglass_diag.records import UsageError
from edgeglass_diag.signals import Signal
from edgeglass_diag.store import Run

if TYPE_CHECKING:
    import pandas as pd

    from edgeglass_diag.evaluation.pairs import PairSample

METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_LEAST_WIDTH = 8


def step_at(run: Run, step: int | None) -> int | None:
    """The newest step at or before ``step`` of which embeddings were kept; the first where all are later."""
    steps = run.embedding_steps()
    before = [at for at in steps if step is None or at <= step]
    kept = before or steps[:1]
    return kept[-1] if kept else None


def sample_at(run: Run, step: int) -> PairSample | None:
    """The pairs that were kept at a step; None where they cannot be read or do not belong together."""
    from edgeglass_diag.evaluation.pairs import sample_pairs

    try:
        return sample_pairs(*run.embeddings(step))
    except (UsageError, ValueError):
        return None


def samples_at(run: Run, step: int) -> PairSamples:
    """Pictures and captions of the pairs that were kept at a step; of a file that cannot be read a note says so."""
    try:
        return run.samples(step).of_pairs(len(run.embeddings(step)[0]))
    except UsageError as error:
        return PairSamples(NO_SAMPLES.pictures, (), note=str(error))


def projection(context: Context, step: int, method: str) -> Any | None:
    """The projection of a step's pairs; None while it is being made."""
    run = context.run
    folder = run.folder

    def make() -> Any:
        import pandas as pd

        from edgeglass_diag.evaluation.projection import Projection, project
        from edgeglass_diag.store import load

        with load(folder) as opened:
            sample = sample_at(opened, step)
        if sample is None:
            return (None,)
        try:
            return (project(sample, method),)
        except MissingExtraError as error:
            return (Projection(method, pd.DataFrame(), ("", ""), "", (), str(error)),)

    jobs = context.index.jobs
    found = (jobs.once if method == "pca" else jobs.get)(key_of(context, step, method), make)
    if found is None:
        context.waits.add(method)
    return None if found is None else found[0]


def key_of(context: Context, step: int, method: str) -> tuple[str, float, int, str]:
    """What a picture of kept pairs is known by."""
    return str(context.run.folder), float(context.run.header.get("created", 0.0)), step, method


def widths(run: Run, full: int) -> list[int]:
    """The widths of the run's Matryoshka head, else halvings; largest first."""
    settings = run.header.get("settings")
    model = settings.get("model") if isinstance(settings, dict) else None
    told = model.get("mrl_dims") if isinstance(model, dict) else None
    dims = {int(dim) for dim in told if isinstance(dim, int) and 0 < dim <= full} if isinstance(told, list) else set()
    while not told and full >= _LEAST_WIDTH:
        dims.add(full)
        full //= 2
    return sorted(dims, reverse=True)


def side_frames(run: Run, signal: Signal) -> dict[str, pd.DataFrame]:
    """Return a signal by step of the widest embedding of each side, by the word for the side."""
    if signal not in run.signals:
        return {}
    from edgeglass_diag.figures.of_run import side_name, widest_sides

    frame = run.frame(signal)
    measured = set(frame["site"])
    sides = widest_sides(site for site in run.sites if site.path in measured)
    found = {side_name(side): frame[frame["site"] == side.path] for side in sorted(sides, key=lambda side: side.width)}
    return dict(sorted(found.items()))
