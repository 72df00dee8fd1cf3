"""EG017: biases that start far from zero."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.training_state import loaded_and_random
from edgeglass_diag.signals.activations import ACTIVATION_RMS
from edgeglass_diag.signals.parameters import WEIGHT_NORM
from edgeglass_diag.site_paths import first_call, parent
from edgeglass_diag.sites import ModuleSite, ParameterSite


@dataclass(frozen=True)
class BiasesFarFromZero(Rule):
    """The biases of several layers are filled with one value that is far larger than what the weights give.

    Why: where the bias is three standard deviations of the rest, an activation is off (or on, or saturated) for nearly
    every sample: a ReLU or GELU passes on nothing, a tanh always the same, and no gradient comes back. A norm with such
    a bias adds the same to every sample.

    Formula: all entries of the bias are one value b, it was not loaded, and before the first step |b| is at least
    ``far`` times the spread that it is added to: rms(w) sqrt(fan-in) rms(x) of a linear layer or convolution, with
    rms(x) = 1 where the input was not measured, and without the part of such a bias of the layer before; the rms of
    the gain of a norm. There are two such layers, and they are half of those of their kind or more: a prior in the last
    layer, or a gate, is one. A fact (info) once nearly all answers are right.
    """

    far: float = 3.0

    code = "EG017"
    name = "biases-far-from-zero"
    title = "Biases start far from zero"
    severity = Severity.WARNING
    page = "gradients"
    signals = (WEIGHT_NORM, ACTIVATION_RMS)
    source = (
        "derived: of a normal variable 0.13 % lies above three standard deviations; Dying ReLU and Initialization, "
        "https://arxiv.org/abs/1903.06733; torch draws biases from U(-1, 1) / sqrt(fan_in), others begin at 0"
    )
    fix = "Start biases at 0: nn.init.zeros_(layer.bias)."
    hinders_learning = True
    faulty = "nn.init.constant_(layer.bias, -5.0)"
    healthy = "nn.init.zeros_(layer.bias)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for all such layers whose training begins together."""
        loaded, _ = loaded_and_random(history)
        filled = {o.name: o for o in history.origins if o.std == 0 and math.prod(o.shape) > 1 and o.name not in loaded}
        begun: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for site, norms in history.at(ParameterSite, WEIGHT_NORM):
            if site.path.endswith(".bias") and len(site.shape) == 1:
                begun[norms.steps[0]][site.path] = norms.first / math.sqrt(site.shape[0])
        for since, biases in begun.items():
            one_value = {parent(path): size for path, size in biases.items() if path in filled}
            spreads = {path: _spread(history, parent(path), one_value) for path in biases}
            known = {path: biases[path] / spread for path, spread in spreads.items() if spread > 0}
            far: dict[str, float] = {}
            for dimensions in {self._dimensions(history, path) for path in known}:
                alike = {path: ratio for path, ratio in known.items() if self._dimensions(history, path) == dimensions}
                most = {path: ratio for path, ratio in alike.items() if path in filled and ratio >= self.far}
                far |= most if 2 * len(most) >= len(alike) else {}
            if len(far) < 2:
                continue
            worst = max(far, key=lambda path: far[path])
            yield self.finding(
                history,
                f"{listed(list(far), 'starts', 'start')} as one value, {worst} at magnitude {biases[worst]:.3g}, which "
                f"is {far[worst]:.3g} times the spread of what it is added to",
                site=worst,
                since=since,
                evidence={"biases": list(far)[:20], "magnitude": biases[worst], "over_spread": far[worst]},
                place=filled[worst].writes[-1].place if filled[worst].writes else None,
            )

    def _dimensions(self, history: History, bias: str) -> int:
        """Return those of the weight beside a bias, which tell linear layers, convolutions and norms apart."""
        site = history.site(ParameterSite, f"{parent(bias)}.weight")
        return 0 if site is None else len(site.shape)


def _spread(history: History, module: str, one_value: Mapping[str, float]) -> float:
    """Return the root mean square of what a layer adds its bias to before the first step; 0 where it is unknown."""
    weight = f"{module}.weight"
    site = history.site(ParameterSite, weight)
    norms = history.series(WEIGHT_NORM, weight)
    if site is None or not len(norms) or not site.shape:
        return 0.0
    if len(site.shape) == 1:
        return norms.first / math.sqrt(site.shape[0])
    if not site.is_linear:
        return 0.0
    own = history.site(ModuleSite, module)
    given = {path: history.series(ACTIVATION_RMS, path) for path in own.parents} if own is not None else {}
    sizes = [
        _without(rms.first, one_value.get(first_call(path), 0.0))
        for path, rms in given.items()
        if len(rms) and math.isfinite(rms.first)
    ]
    return norms.first / math.sqrt(site.shape[0]) * (max(sizes, default=0.0) or 1.0)


def _without(size: float, constant: float) -> float:
    """Return the root mean square of what is left of values without the constant that was added to each.

    >>> _without(5.0, 4.0), _without(1.0, 2.0)
    (3.0, 0.0)
    """
    return math.sqrt(max(0.0, (size - constant) * (size + constant)))
