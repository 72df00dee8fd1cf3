"""EG013 to EG016: initial values of a wrong size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from edgeglass_diag.intervention import AT_FINDING, Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.patience import has_learned
from edgeglass_diag.rules.training_state import is_softmax, loaded_and_random
from edgeglass_diag.signals.activations import ACTIVATION_RMS, ACTIVATION_ZEROS
from edgeglass_diag.signals.embeddings import EMBEDDING_SCALE
from edgeglass_diag.signals.losses import LOSS_LEVEL, LOSS_LOGIT_STD, LOSS_VALUE
from edgeglass_diag.signals.parameters import GRADIENT_NORM, UPDATE_RATIO, WEIGHT_NORM
from edgeglass_diag.site_paths import first_call, parent
from edgeglass_diag.sites import LossSite, ModuleSite, ParameterSite


@dataclass(frozen=True)
class InitialWeightsTooLarge(Rule):
    """The weights start several times larger than any scheme of initialisation draws them.

    Why: each layer multiplies the size of its input by rms(w) sqrt(fan-in). Above 1 activations grow from layer to
    layer, attention and softmax saturate, and what is learned is small against the random start: the model stays near
    it and fits by memory (the lazy regime, https://arxiv.org/abs/1812.07956). Behind a norm the output keeps its size,
    and the rate that counts is lr / |w|^2.

    Formula: the median of rms(w) sqrt(fan-in) over the linear layers and convolutions, as they are before their first
    step and without those that were loaded, is at least ``gain``; there are two or more. Where it was not seen how
    the weights were made, three or more and most must have the same factor within ``alike`` (relative), as draws of one
    scheme have and trained weights have not; else it is a fact (info).
    """

    gain: float = 3.0
    alike: float = 0.05

    code = "EG013"
    name = "initial-weights-too-large"
    title = "Initial weights too large"
    severity = Severity.WARNING
    page = "gradients"
    signals = (WEIGHT_NORM, UPDATE_RATIO)
    source = (
        "derived: nine times the variance at each layer, and 1.8 times the largest published gain, 5/3 "
        "(torch.nn.init.calculate_gain: tanh 5/3, ReLU sqrt 2); Delving Deep into Rectifiers, "
        "https://arxiv.org/abs/1502.01852"
    )
    fix = "Draw the weights with std = gain / sqrt(fan_in), e.g. nn.init.kaiming_normal_, and look for a stray factor."
    cures = (Intervention("initial.orthogonal", site=AT_FINDING), Intervention("optimizer.lr", 10))
    faulty = "nn.init.normal_(layer.weight)  # std 1 at a fan-in of 512"
    healthy = "nn.init.normal_(layer.weight, std=512**-0.5)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for all weights whose training begins together."""
        loaded, drawn = loaded_and_random(history)
        for since, gains in _gains(history, loaded).items():
            if len(gains) < 2 or (middle := median(gains.values())) < self.gain:
                continue
            large = [path for path, gain in gains.items() if gain >= self.gain]
            alike = [path for path in large if abs(gains[path] / middle - 1) <= self.alike]
            fresh = 2 * len(drawn.intersection(large)) >= len(large) or len(alike) >= max(3, len(gains) / 2)
            worst = max(large, key=lambda path: gains[path])
            moves = [ratios.last for path in large if len(ratios := history.series(UPDATE_RATIO, path))]
            step = f"; a step changes {median(moves):.1e} of them" if moves else ""
            yield self.finding(
                history,
                f"{listed(large, 'multiplies', 'multiply')} the size of what they are given by {middle:.1f} in the "
                f"median (at most {self.gain:g}, usual 0.6 to 1.7), {worst} by {gains[worst]:.1f}{step}",
                site=worst,
                severity=Severity.WARNING if fresh else Severity.INFO,
                since=since,
                evidence={"median": middle, "largest": gains[worst], "weights": large[:20]},
            )


def _gains(history: History, loaded: set[str]) -> dict[int, dict[str, float]]:
    """Return rms(w) sqrt(fan-in) of the layers that are trained, before it begins, by its first step."""
    found: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for site, norms in history.at(ParameterSite, WEIGHT_NORM):
        if site.is_linear and not site.is_sharded and norms.first > 0 and site.path not in loaded:
            found[norms.steps[0]][site.path] = norms.first / math.sqrt(site.shape[0])
    return found


@dataclass(frozen=True)
class TwoZeroLayers(Rule):
    """Two layers behind one another both start at zero.

    Why: the gradient of each is multiplied by the other, so that neither moves, nor anything before them; what gets
    them going in the end is chance, decay or a bias. One layer of zeros gets its gradient at once.

    Formula: the weights of two layers that multiply (linear, convolutions of either kind, an embedding) are exactly 0
    before the first step, the second is given what comes of the first alone, and the gradients of both are exactly 0
    in their first recorded window, as the product rule says. A fact (info) once nearly all answers are right.
    """

    code = "EG014"
    name = "two-zero-layers"
    title = "Two layers in a row start at zero"
    severity = Severity.WARNING
    page = "gradients"
    signals = (WEIGHT_NORM, GRADIENT_NORM)
    source = "derived: the product rule at 0 x 0; LAVT-RIS #25; Fixup, https://arxiv.org/abs/1901.09321: only the last"
    fix = "Let only the last layer of a branch start at zero, and draw the one before it at random."
    cures = (Intervention("initial.std", 0.02, AT_FINDING),)
    hinders_learning = True
    faulty = "nn.init.zeros_(mlp[0].weight); nn.init.zeros_(mlp[2].weight)"
    healthy = "nn.init.zeros_(mlp[2].weight)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair."""
        zero = [s.path for s, norms in history.at(ParameterSite, WEIGHT_NORM) if _multiplies(s) and norms.first == 0]
        layers = {parent(path): path for path in zero}
        for module, second in layers.items() if len(layers) > 1 else ():
            first = layers.get(_layer_before(history, module))
            given = history.series(GRADIENT_NORM, first).values if first else []
            other = history.series(GRADIENT_NORM, second).values
            if not other or other[0]:
                continue  # something else reaches it, from beside the first
            stuck = next((i for i, value in enumerate(given) if value), len(given))
            if first is None or not stuck:
                continue
            until = history.series(GRADIENT_NORM, first).steps[stuck - 1]
            yield self.finding(
                history,
                f"{first} and {second} are all zeros, and no gradient passes them until step {until}",
                site=second,
                since=0,
                evidence={"weights": [first, second], "until": until},
            )


def _multiplies(site: ParameterSite) -> bool:
    """Return whether a parameter multiplies what its layer is given; with zeros in it the layer's output is zero."""
    return site.is_linear or (site.path.rpartition(".")[2] == "weight" and len(site.shape) > 1)


def _layer_before(history: History, module: str) -> str:
    """Return the module with a matrix that alone feeds this one, through others without; empty if none does."""
    matrices = {parent(site.path) for site in history.sites_of(ParameterSite) if _multiplies(site)}
    seen = {module}
    site = history.site(ModuleSite, module)
    while site is not None and len(site.parents) == 1 and (before := first_call(site.parents[0])) not in seen:
        if before in matrices:
            return before
        seen.add(before)
        site = history.site(ModuleSite, before)
    return ""


@dataclass(frozen=True)
class DeadFromTheStart(Rule):
    """All units of a layer are off for every sample, from the first step on.

    Why: a ReLU that is off passes nothing on and no gradient back, so that neither its own weights nor anything before
    it is ever trained. Biases far below zero do this, and inputs or weights of one sign.

    Formula: the output of a module with weights of its own is exactly 0 everywhere, in every recorded window over at
    least ``steps`` steps and ``windows`` windows, or to the end of a training with fewer; what it is given is not 0,
    and none of its weight matrices is.
    """

    steps: int = 10
    windows: int = 5

    code = "EG015"
    name = "dead-from-the-start"
    title = "Layer dead from the start"
    severity = Severity.WARNING
    page = "gradients"
    signals = (ACTIVATION_ZEROS, ACTIVATION_RMS)
    source = "derived: a ReLU has slope 0 below 0; Dying ReLU and Initialization, https://arxiv.org/abs/1903.06733"
    fix = "Start the biases at 0 and draw the weights around 0; a LeakyReLU or GELU keeps a slope below 0."
    cures = (Intervention("module.norm_before", site=AT_FINDING),)
    faulty = "nn.init.constant_(layer.bias, -5.0)"
    healthy = "nn.init.zeros_(layer.bias)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all such layers."""
        sizes = {o.name: o.std for o in history.origins if len(o.shape) > 1}
        dead = [
            site.path for site, _ in history.at(ModuleSite, ACTIVATION_ZEROS) if self._is_dead(history, site, sizes)
        ]
        if dead:
            yield self.finding(
                history,
                f"{listed(dead, 'gives', 'give')} nothing but zeros since the first step",
                site=dead[0],
                since=0,
                evidence={"modules": dead[:20]},
            )

    def _is_dead(self, history: History, site: ModuleSite, sizes: dict[str, float]) -> bool:
        zeros = history.series(ACTIVATION_ZEROS, site.path)
        state = zeros.streak(lambda _, share: share == 1)
        if state is None or state.windows < len(zeros) or site.class_name in _TABLES:
            return False
        if not history.ended and not state.lasting(steps=self.steps, windows=self.windows):
            return False
        given = [history.series(ACTIVATION_RMS, path) for path in site.parents]
        if any(not len(rms) or not rms.first > 0 for rms in given):
            return False
        own = [std for name, std in sizes.items() if _holds(history, first_call(site.path), name)]
        return bool(own) and all(std > 0 for std in own)


_TABLES = ("Embedding", "EmbeddingBag")
"""Modules that give zeros for padding."""


def _holds(history: History, module: str, parameter: str) -> bool:
    """Return whether a parameter is a module's own, be it in a container that is no module of its own."""
    holder = parent(parameter)
    return holder == module or (parent(holder) == module and history.site(ModuleSite, holder) is None)


@dataclass(frozen=True)
class FirstLossFarAboveChance(Rule):
    """A classifier is sure of wrong answers before it has learned anything.

    Why: knowing nothing costs ln K. Logits that start with a standard deviation of s cost about s sqrt(2 ln K) instead,
    with gradients as of a model that is wrong about everything, and the first part of the training unlearns the start.

    Formula: at its first step a softmax loss is at least ``factor`` times its chance level, and no products of
    embeddings, which have a temperature, are its logits. A fact (info) as soon as the whole loss has been a fifth below
    chance.
    """

    factor: float = 10.0

    code = "EG016"
    name = "first-loss-far-above-chance"
    title = "First loss far above chance"
    severity = Severity.WARNING
    page = "overview"
    signals = (LOSS_VALUE, LOSS_LEVEL, LOSS_LOGIT_STD)
    source = (
        "derived: ten times ln K takes logits of s = 5 sqrt(2 ln K), of which the largest gets all; verify the loss at "
        "init, http://karpathy.github.io/2019/04/25/recipe/"
    )
    fix = "Make the weights smaller, above all those of the last layer, so that the first loss is near ln(classes)."
    cures = (Intervention("loss.temperature", 0.1), Intervention("loss.temperature", 0.01))
    faulty = "43.5 at step 0, with 72 classes"
    healthy = "4.4 at step 0, with 72 classes"
    brought_by = ("EG013", "EG504", "EG505")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per loss."""
        for site, values in history.at(LossSite, LOSS_VALUE):
            levels = history.series(LOSS_LEVEL, site.path)
            if history.has(EMBEDDING_SCALE) or not len(levels) or not is_softmax(history, site.path):
                continue
            first, level = values.first, levels.first
            if not (level > 0 and math.isfinite(first) and first >= self.factor * level):
                continue
            spread = history.series(LOSS_LOGIT_STD, site.path)
            said = f", with logits of std {spread.first:.3g}" if len(spread) else ""
            yield self.finding(
                history,
                f"{first:.4g} at step {values.steps[0]} against a chance level of {level:.4g}{said}",
                site=site.path,
                severity=Severity.INFO if has_learned(history) else Severity.WARNING,
                since=values.steps[0],
                evidence={"first": first, "chance": level},
            )
