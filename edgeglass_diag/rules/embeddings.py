"""EG3xx: geometry of the embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import Held, History, held
from edgeglass_diag.rules.training_state import MOVED, waking


@dataclass(frozen=True)
class ConstantEmbeddings(Rule):
    """One side of the contrast gives (nearly) the same embedding for every sample.

    Why: the logits of the other side's queries are then the same for every candidate, the softmax is uniform and
    the loss is ln B whatever the pairs are. Recall is exactly K/N.

    Formula: with unit embeddings and logit scale s the side can add a variance of at most s^2 x signal to a row
    of logits, and by expansion lower the loss by about half of that: s^2 x signal / 2 <= ``nats``, in every
    recorded window over at least ``steps`` steps and ``windows`` windows. Signal is mean_b |u_b - mean|^2.
    A cosine of 0.99 between random-init embeddings is normal; so the side must also have had its chance: its
    signal fell to a tenth of what it was (a collapse), or the weights have moved by a fifth since, and it does not
    grow just now, as behind gates that start at zero. And the signal itself must be at most ``signal``: where it is
    not, the scale is too small (EG403).

    The place is found by walking upstream from the embedding through modules without signal to the one whose
    inputs still depend on the sample. Where the raw output of the side varies in length only, there is none.
    """

    nats: float = 0.005
    signal: float = 0.01
    steps: float = 20
    windows: float = 4
    dead_signal: float = 1e-4

    code = "EG301"
    name = "constant-embeddings"
    severity = Severity.CRITICAL
    source = "derived: L = ln B - s (positive - mean) + s^2 Var / 2 for small logits, Var <= signal (Cauchy-Schwarz)"
    fix = (
        "Lower the learning rate by 10 and add warm-up, then look at the named module: does its input still depend "
        "on the image or text?"
    )
    refuted_by_learning = True

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per side, at its widest embedding."""
        for side, sites in _sides(history).items():
            site = max(sites, key=_width)
            signal = history.series("embedding/sample_signal", site)
            scale = _scale(history, site)
            constant = held(signal, self._is_constant(scale))
            if constant is None or not constant.lasting(steps=int(self.steps), windows=int(self.windows)):
                continue
            before = max(signal.values)
            if waking(signal) or not (before >= 10 * signal.last or history.cumulated_update(constant.since) >= MOVED):
                continue
            where = self._where_it_dies(history, side)
            place = f"; the first module that loses it is {where[0]} (sample signal {where[1]:.1e})" if where else ""
            raw = history.series("activation/sample_signal", side)
            if where is None and len(raw):
                size = history.series("activation/rms", side).last
                place = f"; before normalisation it still varies, at rms {size:.1e} (sample signal {raw.last:.1e})"
            label = history.sites[site, "embedding"].label
            name = f"the {label} side ({side})" if label in ("image", "text") else side
            yield self.finding(
                history,
                f"{name} gives the same embedding for every sample since step {constant.since}: sample signal "
                f"{signal.last:.1e}, {scale * scale * signal.last / 2:.1e} nats at scale {scale:.3g}{place}",
                site=side,
                evidence={
                    "side": label, "embedding": site, "sample_signal": signal.last, "largest_before": before,
                    "scale": scale, "since": constant.since, "first_dead_module": where[0] if where else None,
                },
            )  # fmt: skip

    def _is_constant(self, scale: float) -> Callable[[int, float], bool]:
        limit = min(self.signal, 2 * self.nats / max(scale * scale, 1e-30))
        return lambda _, value: value <= limit

    def _where_it_dies(self, history: History, side: str) -> tuple[str, float] | None:
        """Walk upstream from the side through modules without signal, up to the one that is still fed some."""
        found, path = None, side
        for _ in range(len(history.sites)):
            signal = history.series("activation/sample_signal", path)
            if not len(signal) or not signal.last <= self.dead_signal:
                return found
            found = (path, signal.last)
            parents = [
                (parent, history.series("activation/sample_signal", parent))
                for parent in history.sites[path, "module"].parents
            ]
            fed = {parent: series.last for parent, series in parents if len(series)}
            if not fed or any(value > self.dead_signal for value in fed.values()):
                return found
            path = max(fed, key=lambda parent: history.sites[parent, "module"].order)
        return found


@dataclass(frozen=True)
class RankCollapse(Rule):
    """The embeddings of one side vary along hardly more than one direction.

    Why: logits of rank r can order B candidates only along r directions; with one left every image gets the same
    ranking or its reverse.

    Formula: effective rank (exp of the entropy of the normalised singular values, Roy & Vetterli) at most
    ``rank`` and half of the width, with a batch of at least 16, over at least ``steps`` steps and ``windows``
    windows, while the side is not (yet) constant and the weights have moved by a fifth.
    """

    rank: float = 2.0
    steps: float = 40
    windows: float = 5

    code = "EG302"
    name = "rank-collapse"
    severity = Severity.WARNING
    source = "RankMe (https://arxiv.org/abs/2210.02885) gives no absolute threshold; 2 is one direction and the mean"
    fix = "Lower the learning rate; check that the pooling before the head does not average the sample away."
    refuted_by_learning = True

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per side."""
        rows = max((series.last for _, series in history.of("loss/rows") if len(series)), default=0.0)
        for site, series in history.of("embedding/effective_rank"):
            limit = min(self.rank, _width(site) / 2)  # two dimensions have no more than two
            low = held(series, lambda _, value, limit=limit: value <= limit)  # type: ignore[misc]
            if rows < 16 or low is None or not low.lasting(steps=int(self.steps), windows=int(self.windows)):
                continue
            if history.cumulated_update(0) < MOVED:
                continue
            side = site.rsplit("[", 1)[0]
            yield self.finding(
                history,
                f"{side}: effective rank {series.last:.2f} of {rows:.0f} samples since step {low.since}",
                site=side,
                evidence={"effective_rank": series.last, "batch": rows, "since": low.since, "embedding": site},
            )


def constant_since(history: History) -> Held | None:
    """Since when some side is constant, whatever else is asked of a finding."""
    rule, found = ConstantEmbeddings(), []
    for site, signal in history.of("embedding/sample_signal"):
        state = held(signal, rule._is_constant(_scale(history, site)))
        if state is not None:
            found.append(state)
    return max(found, key=lambda state: state.span, default=None)


def _sides(history: History) -> dict[str, list[str]]:
    sides: dict[str, list[str]] = {}
    for site, _ in history.of("embedding/sample_signal"):
        sides.setdefault(site.rsplit("[", 1)[0], []).append(site)
    return sides


def _width(site: str) -> int:
    return int(site.rsplit(":", 1)[1].rstrip("]"))


def _scale(history: History, site: str) -> float:
    """The largest recent logit scale of the products in which an embedding takes part."""
    pairs = [series for pair, series in history.of("embedding/scale") if site in pair.split(" x ")]
    # Where all embeddings are zero there is no scale to read; the last one that was read holds.
    finite = [next((v for v in reversed(series.values) if math.isfinite(v)), 1.0) for series in pairs]
    return max(finite, default=1.0)
