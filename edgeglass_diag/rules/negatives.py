"""EG320: a contrast whose strangers are no embeddings of samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.embeddings import (
    EMBEDDING_MEAN_COSINE,
    EMBEDDING_PULL,
    EMBEDDING_SAMPLE_SIGNAL,
    EMBEDDING_SPREAD,
)
from edgeglass_diag.signals.losses import LOSS_ACCURACY, LOSS_CANDIDATES
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import EmbeddingSite, LossSite, PairSite, Task

_FACTS: tuple[Signal, ...] = (EMBEDDING_SPREAD, EMBEDDING_SAMPLE_SIGNAL, EMBEDDING_MEAN_COSINE)
_NO_MODULE = ("left", "right")
"""What a side is called that comes from no module."""


@dataclass(frozen=True)
class NegativesNeverChange(Rule):
    """A queue or bank of negatives keeps the noise that it was made with.

    Why: strangers that no encoder has made are told from a partner at once. The loss falls, the accuracy is 1, and
    nothing keeps the embeddings of different samples apart: all of them may lie in one point.

    Formula: rows that come from no module are compared with embeddings which a loss also draws to partners from
    elsewhere (``pull`` or more of them), so that these rows are strangers alone. Their spread, signal and mean cosine
    are the same to the last bit in all recorded windows, over at least ``steps`` steps and ``windows`` windows; they
    lie as independent directions do, with a mean cosine of at most ``cosine``; and a contrast over at least
    ``candidates`` is right in ``accuracy`` of its rows in every window from the first on. A frozen bank of embeddings
    of samples or of classes is not told apart without training, and one that changes is a queue that works.
    """

    pull: float = 0.5
    cosine: float = 0.05
    accuracy: float = 0.95
    candidates: int = 8
    steps: int = 20
    windows: int = 4

    code = "EG320"
    name = "negatives-never-change"
    title = "Negatives are noise that never changes"
    severity = Severity.WARNING
    page = "embeddings"
    signals = (EMBEDDING_SPREAD, EMBEDDING_MEAN_COSINE, EMBEDDING_PULL)
    source = (
        "derived: the mean cosine of n random directions in d dimensions deviates from 0 by 2^(1/2) / (n d^(1/2)), "
        "0.01 for 16 in 64; Momentum Contrast, https://arxiv.org/abs/1911.05722: the queue holds the keys of earlier "
        "batches"
    )
    fix = "Put the keys of each batch into the queue after the loss (dequeue and enqueue), and check its pointer."
    faulty = "self.queue = normalize(torch.randn(dim, K), dim=0)  # and never written again"
    healthy = "self.queue[:, pointer : pointer + len(keys)] = keys.T"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each side that never changes."""
        drawn = {side for pair, pulls in history.at(PairSite, EMBEDDING_PULL) if pulls.last >= self.pull
                 for side in pair.sides}  # fmt: skip
        if not drawn or not self._is_told_apart(history):
            return
        for pair in history.sites_of(PairSite):
            for side, other in (pair.sides, pair.sides[::-1]):
                if side in drawn or other not in drawn or not self._is_noise(history, side):
                    continue
                seen = history.series(EMBEDDING_SPREAD, side)
                yield self.finding(
                    history,
                    f"the rows that {other} is kept apart from are the same in all {len(seen)} recorded windows, with "
                    f"a mean cosine of {history.series(EMBEDDING_MEAN_COSINE, side).last:+.4f}, and are told from its "
                    "partners since the first step",
                    site=pair.path,
                    since=seen.steps[0],
                    evidence={"windows": len(seen), "spread": seen.last},
                )

    def _is_noise(self, history: History, path: str) -> bool:
        """Return whether rows that no module has made are random directions, the same in all windows."""
        site, cosines = history.site(EmbeddingSite, path), history.series(EMBEDDING_MEAN_COSINE, path)
        if site is None or site.module not in _NO_MODULE or not len(cosines) or abs(cosines.last) > self.cosine:
            return False
        return all(self._never_changes(history, signal, path) for signal in _FACTS)

    def _never_changes(self, history: History, signal: Signal, path: str) -> bool:
        series = history.series(signal, path)
        if not len(series):
            return False
        first = series.first
        same = series.streak(lambda _, value: value == first)
        return same is not None and same.windows == len(series) and same.lasting(steps=self.steps, windows=self.windows)

    def _is_told_apart(self, history: History) -> bool:
        """Return whether a contrast has been right in nearly all rows from its first window on."""
        for site, accuracy in history.at(LossSite, LOSS_ACCURACY):
            candidates = history.series(LOSS_CANDIDATES, site.path)
            if site.task is not Task.CONTRASTIVE or site.is_sigmoid or candidates.last < self.candidates:
                continue
            right = accuracy.streak(lambda _, value: value >= self.accuracy)
            if right is not None and right.windows == len(accuracy) >= self.windows:
                return True
        return False
