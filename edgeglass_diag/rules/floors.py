"""The least that a contrast can cost, by its scale, its candidates and the width of its embeddings; in nats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from edgeglass_diag.measures.chance import chance_loss, contrastive_floor
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.training_state import is_softmax
from edgeglass_diag.signals.losses import LOSS_CANDIDATES, LOSS_TARGET_ENTROPY
from edgeglass_diag.sites import LossSite, Task

_LARGE_SCALE = 1000.0


@dataclass(frozen=True)
class Contrast:
    """The widest contrast of a training.

    Attributes:
        candidates: among which a row finds its partner, 0 where there is no contrast.
        sigmoid: whether each pair is judged by itself, by a sigmoid, and not by a softmax over them.
    """

    candidates: int
    sigmoid: bool = False

    @property
    def chance(self) -> float:
        """What the loss of a row is where nothing is known of it."""
        return sigmoid_floor(0.0, self.candidates) if self.sigmoid else chance_loss(self.candidates)

    def floor(self, scale: float) -> float:
        """Return the least loss of a row with cosines times a scale as logits."""
        return (sigmoid_floor if self.sigmoid else contrastive_floor)(scale, self.candidates)


def contrast(history: History) -> Contrast:
    """Return the widest softmax, or where there is none the widest sigmoid loss with one partner in a row, about."""
    known = [(site, int(s.last)) for site, s in history.of(LOSS_CANDIDATES)]
    softmax = [count for site, count in known if is_softmax(history, site)]
    if softmax:
        return Contrast(max(softmax))
    return Contrast(max((count for site, count in known if _has_one_partner(history, site)), default=0), sigmoid=True)


def _has_one_partner(history: History, path: str) -> bool:
    site, matches = history.site(LossSite, path), history.series(LOSS_TARGET_ENTROPY, path)
    return site is not None and site.task is Task.CONTRASTIVE and len(matches) > 0 and abs(matches.last) <= math.log(2)


@lru_cache(maxsize=1024)
def sigmoid_floor(scale: float, candidates: int) -> float:
    """Return the least sigmoid loss of a row of B pairs of which one matches, with the best bias b.

    min over b of ln(1 + exp(-s - b)) + (B-1) ln(1 + exp(b - s / (B-1))): partners at cosine 1, and strangers, whose
    cosines are -1 / (B-1) at least in the mean, all there (Jensen). At scale 0 it is the level of knowing nothing.

    >>> round(sigmoid_floor(0.0, 32), 2), round(sigmoid_floor(1.0, 32), 2), round(sigmoid_floor(10.0, 32), 2)
    (4.45, 3.47, 0.06)
    """
    others = candidates - 1

    def loss(bias: float) -> float:
        return _softplus(-scale - bias) + others * _softplus(bias - scale / others)

    low, high = -scale - 50.0, 50.0
    for _ in range(100):  # convex in the bias
        third = (high - low) / 3
        low, high = (low, high - third) if loss(low + third) < loss(high - third) else (low + third, high)
    return loss((low + high) / 2)


@lru_cache(maxsize=1024)
def narrow_floor(scale: float, candidates: int, width: int) -> float:
    """Return the least contrastive loss of unit embeddings of so few dimensions.

    ln B + ln 0F1(d/2, s^2/4) - s, at least 0: partners at cosine 1, all spread evenly over the sphere. 0F1 is
    Gamma(d/2) (2/s)^(d/2 - 1) I(s) with the modified Bessel function of order d/2 - 1; at a large scale its uniform
    expansion is taken (https://dlmf.nist.gov/10.41), which is off by 1 / (8 s) at most.

    >>> round(narrow_floor(14.3, 64, 2), 3), narrow_floor(14.3, 64, 64), round(narrow_floor(1e9, 2**20, 2), 3)
    (1.919, 0.0, 2.582)
    """
    half, power = width / 2, 2 * math.log(max(scale, 1e-9) / 2)
    if scale > _LARGE_SCALE:
        order, root = half - 1, math.hypot(half - 1, scale)
        bessel = root - scale + order * math.log(scale / (order + root)) - math.log(2 * math.pi * root) / 2
        return max(0.0, math.log(candidates) + math.lgamma(half) + order * math.log(2 / scale) + bessel)
    terms = [
        k * power - math.lgamma(k + 1) - math.lgamma(half + k) + math.lgamma(half) for k in range(2 * int(scale) + 40)
    ]
    largest = max(terms)
    mean = largest + math.log(sum(math.exp(term - largest) for term in terms))
    return max(0.0, math.log(candidates) + mean - scale)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
