"""EG2xx, EG6xx: dropout that drowns the signal, or where none belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.rules.training_state import MOVED, no_better_than_chance
from edgeglass_diag.signals.activations import DROPOUT_P, NOISE_UNREPEATED, NOISE_WEIGHTS
from edgeglass_diag.signals.losses import LOSS_LEVEL, LOSS_PART, LOSS_TOTAL, LOSS_VALUE
from edgeglass_diag.sites import DropoutPlace, DropoutSite


@dataclass(frozen=True)
class DropoutTooHigh(Rule):
    """Dropout takes away more than it leaves, and the model does not learn.

    Why: what a dropout keeps is multiplied by 1 / (1 - p), so that noise with p / (1 - p) times the energy of the
    signal is added: as much as the signal itself at p = 0.5, nine times as much at 0.9 (a keep rate of 0.9 given for a
    drop rate), and again at each further dropout on the way.

    Formula: p / (1 - p) > ``noise`` in training in every recorded window over at least ``steps`` steps and
    ``windows`` windows, during which the loss, or a term of it, is no more than ``learned`` (relative) better than
    chance and the weights have moved by a fifth. Whatever the loss does, p / (1 - p) >= ``drowned`` at ``places`` or
    more modules: published recipes have at most two dropouts of 0.9, between the last layers of a network that was
    trained before.
    """

    noise: float = 1.0
    drowned: float = 9.0
    places: int = 3
    learned: float = 0.1
    steps: int = 40
    windows: int = 5

    code = "EG216"
    name = "dropout-too-high"
    title = "Dropout too high"
    severity = Severity.WARNING
    page = "gradients"
    signals = (DROPOUT_P,)
    source = (
        "derived: Bernoulli(1 - p) / (1 - p) has a variance of p / (1 - p); Dropout, JMLR 15 (2014): 0.5 in hidden "
        "layers, 0.2 in inputs; two of 0.9: Two-Stream Convolutional Networks, https://arxiv.org/abs/1406.2199"
    )
    fix = "Lower p to 0.1 (torch's p is the share that is dropped, not the one that is kept)."
    cures = (Intervention("dropout.off"),)
    refuted_by_learning = True
    faulty = "nn.Dropout(0.9)  # meant to keep 0.9"
    healthy = "nn.Dropout(0.1)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all such dropouts."""
        everywhere = self._lasting(history, self.drowned / (1 + self.drowned) - _ROUNDING)
        if len(everywhere) >= self.places:
            yield self._found(history, everywhere, "and drowns it at each of them", 0)
        elif loud := self._lasting(history, self.noise / (1 + self.noise) + _ROUNDING):
            for what, stuck in (("the loss", no_better_than_chance(history, self.learned)), *self._terms(history)):
                lasting = stuck is not None and stuck.lasting(steps=self.steps, windows=self.windows)
                if stuck is not None and lasting and history.cumulated_update(stuck.since) >= MOVED:
                    yield self._found(history, loud, f"and {what} stays at chance", stuck.since)
                    return

    def _terms(self, history: History) -> Iterable[tuple[str, Streak | None]]:
        """Yield the terms that go backward now, each with since when it is no better than chance."""
        for site, part in history.of(LOSS_PART):
            levels = history.series(LOSS_LEVEL, site)
            if len(levels) and part.steps[-1] == history.series(LOSS_TOTAL).steps[-1]:
                stuck = history.series(LOSS_VALUE, site).streak(self._no_better(levels))
                yield site, stuck

    def _no_better(self, levels: Series) -> Callable[[int, float], bool]:
        least = 1 - self.learned
        return lambda step, value: value >= least * levels.at(step) > 0

    def _found(self, history: History, loud: list[str], said: str, since: int) -> Finding:
        worst = max(loud, key=lambda site: history.series(DROPOUT_P, site).last)
        share = history.series(DROPOUT_P, worst).last
        where = listed([worst or "the model", *(site for site in loud if site != worst)])
        return self.finding(
            history,
            f"p = {share:.2g} in {where} adds {share / max(1e-9, 1 - share):.1f} times the energy "
            f"of the signal as noise, {said}",
            site=worst,
            since=since,
            evidence={"p": share, "sites": loud[:20]},
        )

    def _lasting(self, history: History, least: float) -> list[str]:
        """Return the modules whose dropout has taken away at least this share, in every recorded window of late."""
        return [site for site, series in history.of(DROPOUT_P) if self._takes(series, least)]

    def _takes(self, series: Series, least: float) -> bool:
        state = series.streak(lambda _, p: p >= least)
        return state is not None and state.lasting(steps=self.steps, windows=self.windows)


_ROUNDING = 1e-6

_HOW = {
    DropoutPlace.EVALUATION: "is called without gradients, and its dropout is on",
    DropoutPlace.FROZEN_ENCODER: "has its dropout on, although all its weights are frozen",
    DropoutPlace.UNKNOWN: "has its dropout on",
}


@dataclass(frozen=True)
class DropoutWhereNoneBelongs(Rule):
    """Dropout is on in an evaluation, or inside of a frozen encoder.

    Why: train mode was left on, came back with model.train(), or is not asked for, as the fused attention's
    ``dropout_p`` does not: recalls are those of a damaged model, features of a frozen tower are noise in part.

    Formula: a dropout with p > 0 that was on ran in a pass of a model without gradients of which more than
    ``evaluated`` of the samples do not come again with gradients before the next step, or within a module whose weights
    are all frozen and have not moved over at least ``steps`` steps and ``windows`` windows, with nothing trained before
    it. Silent are dropout on the way from frozen features to a head, frozen layers among trained ones of their kind,
    tables of embeddings, adapters within a frozen encoder, gradient caching, checkpoints, and a momentum teacher with
    its student's dropout. The dropout inside of torch's recurrent kernels is not seen.
    """

    evaluated: float = 0.5
    steps: int = 10
    windows: int = 5

    code = "EG605"
    name = "train-mode-in-evaluation"
    title = "Dropout active where none belongs"
    severity = Severity.WARNING
    page = "retrieval"
    signals = (NOISE_UNREPEATED, NOISE_WEIGHTS)
    source = (
        "derived; lightly #1438 (eval mode undone by a later .train()); Mean teachers, "
        "https://arxiv.org/abs/1703.01780, and GradCache, https://arxiv.org/abs/2101.06983, have their dropout on"
    )
    fix = (
        "Call model.eval() before evaluating, and tower.eval() after each model.train(); give functional.dropout "
        "training=self.training, and scaled_dot_product_attention a dropout_p of 0 in evaluation."
    )
    faulty = "with torch.no_grad(): evaluate(model)"
    healthy = "model.eval(); with torch.no_grad(): evaluate(model)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per module."""
        for site in history.sites_of(DropoutSite):
            if self._belongs_not(history, site):
                yield self.finding(
                    history,
                    f"{site.path or 'the model'} {_HOW[site.place]}",
                    site=site.path,
                    evidence={"how": site.place.value},
                )

    def _belongs_not(self, history: History, site: DropoutSite) -> bool:
        if site.place is DropoutPlace.EVALUATION:
            shares = history.series(NOISE_UNREPEATED, site.path)
            return max(shares.values, default=1.0) > self.evaluated
        weights = history.series(NOISE_WEIGHTS, site.path)
        state = weights.streak(lambda _, value: value == weights.first)
        return state is not None and state.lasting(steps=self.steps, windows=self.windows)
