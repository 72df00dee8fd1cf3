"""EG0xx: which weights training reaches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.flow import by_module, cut_off, last_of, learns, runs
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed, places
from edgeglass_diag.rules.training_state import loaded_and_random, matrices

_NOT_HELD = "trainable and given a gradient, but held by no optimizer"
_WITHOUT = "held by an optimizer, but without gradient"
_FROZEN = ("frozen", "held by an optimizer, but without gradient (it is frozen)")


def _with_status(history: History, *beginnings: str) -> list[str]:
    return [
        path
        for (path, kind), site in history.sites.items()
        if kind == "parameter" and site.status.startswith(beginnings)
    ]


@dataclass(frozen=True)
class NotInOptimizer(Rule):
    """A parameter gets a gradient, and no optimizer holds it.

    Why: it keeps its random value for ever, while everything around learns to live with it.

    Formula: trainable, with a gradient in the recorded windows, in no parameter group of an optimizer that has
    stepped, after ``steps`` steps. Weights that were loaded from a checkpoint may be meant to stay: they are only a
    fact (info).
    """

    steps: float = 2

    code = "EG003"
    name = "missing-from-optimizer"
    severity = Severity.WARNING
    source = "derived: a parameter in no group is never stepped; torchtest and TrainCheck check that parameters change"
    fix = "Give the optimizer all of model.parameters(), after the last module is made; freeze what is meant to stay."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per tower or head."""
        if history.last_step < self.steps:
            return
        loaded, _ = loaded_and_random(history)
        missing = _with_status(history, _NOT_HELD)
        held = any(kind == "parameter" and site.status == "observed" for (_, kind), site in history.sites.items())
        if not held and len(history.series("optimizer/skipped")):
            return  # a loss scaler has let no optimizer step yet
        for place, names in places(missing) if held else [("", missing)] * bool(missing):
            fresh = [name for name in names if name not in loaded]
            yield self.finding(
                history,
                f"{place or 'the model'}: {listed(fresh or names)} gets gradients, but no optimizer holds it",
                site=place,
                severity=Severity.WARNING if fresh else Severity.INFO,
                evidence={"parameters": names, "loaded": not fresh},
            )


@dataclass(frozen=True)
class RandomButFrozen(Rule):
    """A weight matrix that was drawn at random and never loaded is frozen.

    Why: what follows sees a random projection. A frozen tower makes sense with trained weights only.

    Formula: not trainable, its initial value was seen to be drawn at random and not loaded, two or more dimensions,
    in a module that runs in training, while other parameters are trained, after ``steps`` steps. Weights that something
    else than an optimizer changes, as a momentum encoder's, are silent. A random patch embedding that is frozen on
    purpose (MoCo v3) is the known exception.
    """

    steps: float = 2

    code = "EG004"
    name = "random-but-frozen"
    severity = Severity.WARNING
    source = "derived from where the value comes from; LLaVA #832, #948 (projector frozen by mistake)"
    fix = "Set requires_grad to True for it before the optimizer is made, or load its trained weights."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per tower or head."""
        if history.last_step < self.steps or not any(True for _ in history.of("update/ratio")):
            return
        _, drawn = loaded_and_random(history)
        matrices = {o.name for o in history.origins if sum(size > 1 for size in o.shape) > 1}
        matrices -= {name for name, written in history.of("weight/written") if max(written.values) > 0}
        names = [n for n in _with_status(history, *_FROZEN) if n in drawn & matrices and runs(history, n)]
        for place, inside in places(names):
            yield self.finding(
                history,
                f"{place}: {listed(inside)} was drawn at random, never loaded, and is frozen",
                site=place,
                evidence={"parameters": inside},
            )


@dataclass(frozen=True)
class GradientCutOff(Rule):
    """A module runs and its output is used, but none of its weights gets a gradient.

    Why: a no_grad, a detach, an argmax or a conversion to numpy lies behind it; it is not trained although it is
    meant to be.

    Formula: all of a module's own trainable parameters are without gradient in every recorded window over at least
    ``steps`` steps, although an optimizer holds them and the module runs, and its output flows into other modules or
    into the loss. A parameter that is unused in a module that otherwise learns, as a mask token, is silent.
    """

    steps: float = 2

    code = "EG005"
    name = "gradient-cut-off"
    severity = Severity.WARNING
    source = "derived: no gradient, no step; torchtest: variables that should change change"
    fix = "Look for torch.no_grad, detach, argmax, .data or .item between this module and the loss."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per tower or head."""
        if history.last_step < self.steps:
            return
        without = [n for n in _with_status(history, _WITHOUT) if n not in _with_status(history, *_FROZEN)]
        cut = cut_off(history, without)
        for place, names in last_of(places(cut), history):
            yield self.finding(
                history,
                f"{place}: {listed(names)} runs and gets no gradient: the path from here to the loss is cut",
                site=place,
                evidence={"parameters": names},
            )


@dataclass(frozen=True)
class NeverUsed(Rule):
    """Weights are held by the optimizer, but take no part in the loss.

    Why: a module that was built and is not called, or whose output is dropped, is dead weight at best; at worst it is
    the new head that everybody believes to be trained.

    Formula: no gradient in every recorded window over at least ``steps`` steps for all of a module's own parameters,
    and the module is not called, or nothing uses what it gives. A warning where such modules were drawn at random and
    hold at least ``share`` of all weights that an optimizer holds; less (a pooler beside the one in use) is a fact.
    """

    steps: float = 2
    share: float = 0.05

    code = "EG006"
    name = "never-used"
    severity = Severity.WARNING
    source = "derived; 5 %: BERT's unused pooler, which does no harm, has 0.5 % of its weights"
    fix = "Call the module in forward, or delete it."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per tower or head."""
        if history.last_step < self.steps:
            return
        without = [n for n in _with_status(history, _WITHOUT) if n not in _with_status(history, *_FROZEN)]
        cut = set(cut_off(history, without))
        unused = [
            name
            for module, names in by_module(without)
            for name in names
            if name not in cut and not learns(history, module)
        ]
        sizes = {o.name: prod(o.shape) for o in history.origins}
        loaded, _ = loaded_and_random(history)
        held = sum(sizes.get(site, 0) for site, _ in history.of("gradient/norm") if site)
        for place, names in places(unused):
            size = sum(sizes.get(name, 0) for name in names if name not in loaded)
            share = size / max(1, held + size)
            yield self.finding(
                history,
                f"{place}: {listed(names)} takes no part in the loss",
                site=place,
                severity=Severity.WARNING if share >= self.share else Severity.INFO,
                evidence={"parameters": names, "share": share},
            )


@dataclass(frozen=True)
class ZeroGradient(Rule):
    """The gradient of a weight matrix is exactly zero, always.

    Why: two layers in a row that start at zero, a dead activation, a factor of zero, or an underflow: the matrix
    never moves. A single zero-initialised gate gets its own gradient at once and opens the way for the others.

    Formula: |gradient| = 0 in every recorded window so far, over at least ``steps`` steps and ``windows`` windows, of a
    weight with two or more dimensions above one, while others get gradients. A fact (info) while a loss has had the
    weight 0 all the time: a term that is faded in later trains its head later.
    """

    steps: float = 10
    windows: float = 5

    code = "EG007"
    name = "zero-gradient"
    severity = Severity.WARNING
    source = "derived: the product rule at 0 x 0; LAVT-RIS #25. Exactly zero is no rounding of a gradient in float32"
    fix = "Let only the last layer of a branch start at zero; look for dead units and for factors of zero."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per tower or head."""
        zero = [site for site in matrices(history) if self._always(history, site)]
        if not zero or not any(series.last > 0 for site, series in history.of("gradient/norm") if site):
            return
        weights = [series.values for _, series in history.of("loss/weight")]
        waiting = any(not any(values) for values in weights) and any(any(values) for values in weights)
        for place, names in places(zero):
            yield self.finding(
                history,
                f"{place}: the gradient of {listed(names)} has been exactly zero since the beginning"
                + (", as has the weight of a loss" if waiting else ""),
                site=place,
                severity=Severity.INFO if waiting else Severity.WARNING,
                evidence={"parameters": names},
            )

    def _always(self, history: History, site: str) -> bool:
        series = history.series("gradient/norm", site)
        if not len(series) or series.last != 0:
            return False
        state = history.streak(("EG007", site), series, lambda _, value: value == 0)
        return (
            state is not None and state.windows == len(series)
            and state.lasting(steps=int(self.steps), windows=int(self.windows))
        )  # fmt: skip
