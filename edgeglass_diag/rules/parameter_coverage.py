"""EG0xx: which weights training reaches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from edgeglass_diag.intervention import AT_FINDING, Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.cures import INCLUDED
from edgeglass_diag.rules.flow import by_module, cut_off, last_of, learns, runs, switched_off
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed, places
from edgeglass_diag.rules.parameter_state import has_changed, not_held
from edgeglass_diag.rules.training_state import loaded_and_random
from edgeglass_diag.signals.parameters import (
    GRADIENT_NORM,
    MODULE_IN_LOSS,
    OPTIMIZER_SKIPPED,
    STANDING_GRADIENT,
    STANDING_OPTIMIZER,
    UPDATE_RATIO,
    WEIGHT_WRITTEN,
)
from edgeglass_diag.site_paths import parent
from edgeglass_diag.sites import Coverage, ParameterSite

_FROZEN = (Coverage.FROZEN, Coverage.HELD_FROZEN)


def _parameters(history: History, *coverages: Coverage) -> list[str]:
    return [site.path for site in history.sites_of(ParameterSite) if site.coverage in coverages]


@dataclass(frozen=True)
class NotInOptimizer(Rule):
    """A parameter gets a gradient, and no optimizer holds it.

    Why: it keeps its random value for ever, while everything around learns to live with it.

    Formula: trainable, with a gradient in the recorded windows, in no parameter group of an optimizer that has
    stepped, after ``steps`` steps. Before the first step: trainable, its gradient above ``init_gradient``, in no
    parameter group of an optimizer that exists, while another parameter is in one. Weights that were loaded from a
    checkpoint may be meant to stay: they are only a fact (info). Those whose role has changed are those of EG008 and
    EG009.
    """

    steps: int = 2
    init_gradient: float = 0.0

    code = "EG003"
    name = "missing-from-optimizer"
    title = "Parameters missing from the optimizer"
    severity = Severity.WARNING
    page = "coverage"
    signals = (STANDING_OPTIMIZER, STANDING_GRADIENT)
    source = "derived: a parameter in no group is never stepped; torchtest and TrainCheck check that parameters change"
    fix = (
        "Give the optimizer all of model.parameters(), after the last module is made; those of modules in a plain list "
        "or dict are not among them (nn.ModuleList, nn.ModuleDict). Freeze what is meant to stay."
    )
    cures = INCLUDED
    faulty = "AdamW(model.visual.parameters()); loss uses model.text_proj"
    healthy = "AdamW(model.parameters())"
    stages = (Stage.INIT, Stage.RUN)
    brought_by = ("EG009",)
    aliases = {"EG053": {"gradient": "init_gradient"}}  # noqa: RUF012

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per tower or head."""
        if history.last_step < self.steps:
            return
        loaded, _ = loaded_and_random(history)
        missing = [site.path for site in not_held(history) if not has_changed(site)]
        held = bool(_parameters(history, Coverage.OBSERVED))
        if not held and len(history.series(OPTIMIZER_SKIPPED)):
            return  # a loss scaler has let no optimizer step yet
        for place, names in places(missing) if held else [("", missing)] * bool(missing):
            fresh = [name for name in names if name not in loaded]
            yield self.finding(
                history,
                f"{listed(fresh or names, 'gets', 'get')} gradients, but no optimizer holds them",
                site=place,
                severity=Severity.WARNING if fresh else Severity.INFO,
                evidence={"parameters": names, "loaded": not fresh},
            )

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return one finding for all drawn parameters, and one for all loaded ones."""
        held = {name: series.last == 1 for name, series in history.of(STANDING_OPTIMIZER)}
        if not any(held.values()):
            return
        outside = [name for name, inside in held.items() if not inside]
        reached = [n for n in outside if history.series(STANDING_GRADIENT, n).last > self.init_gradient]
        loaded = {o.name for o in history.origins if any(w.is_loaded for w in o.writes)}
        for names, severity in (
            ([n for n in reached if n not in loaded], Severity.WARNING),
            ([n for n in reached if n in loaded], Severity.INFO),
        ):
            if names:
                yield self.finding(
                    history,
                    f"{listed(names, 'gets', 'get')} gradients, but no optimizer holds them",
                    site=names[0],
                    severity=severity,
                    evidence={"parameters": names},
                )


@dataclass(frozen=True)
class RandomButFrozen(Rule):
    """A weight matrix that was drawn at random and never loaded is frozen.

    Why: what follows sees a random projection. A frozen tower makes sense with trained weights only.

    Formula: not trainable, its initial value was seen to be drawn at random and not loaded, two or more dimensions,
    in a module that runs in training, while other parameters are trained, after ``steps`` steps. Weights that something
    else than an optimizer changes, as a momentum encoder's, are silent, and so are those that were trained before. A
    random patch embedding that is frozen on purpose (MoCo v3) is the known exception.
    """

    steps: int = 2

    code = "EG004"
    name = "random-but-frozen"
    title = "Randomly initialised weights are frozen"
    severity = Severity.WARNING
    page = "coverage"
    signals = (WEIGHT_WRITTEN,)
    source = "derived from where the value comes from; LLaVA #832, #948 (projector frozen by mistake)"
    fix = "Set requires_grad to True for it before the optimizer is made, or load its trained weights."
    cures = (Intervention("optimizer.unfreeze", site=AT_FINDING),)
    faulty = "model.requires_grad_(False)  # new projector included"
    healthy = "model.visual.requires_grad_(False)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per tower or head."""
        if history.last_step < self.steps or not history.has(UPDATE_RATIO):
            return
        _, drawn = loaded_and_random(history)
        matrices = {o.name for o in history.origins if sum(size > 1 for size in o.shape) > 1}
        matrices -= {name for name, written in history.of(WEIGHT_WRITTEN) if max(written.values) > 0}
        frozen = [n for n in _parameters(history, *_FROZEN) if not len(history.series(GRADIENT_NORM, n))]
        names = [n for n in frozen if n in drawn & matrices and runs(history, parent(n))]
        for place, inside in places(names):
            yield self.finding(
                history,
                f"{listed(inside, 'was', 'were')} drawn at random and never loaded",
                site=place,
                evidence={"parameters": inside},
            )


@dataclass(frozen=True)
class GradientCutOff(Rule):
    """A module runs and its output is used, but none of its weights gets a gradient.

    Why: a no_grad, a detach, an argmax or a conversion to numpy lies behind it; it is not trained although it is
    meant to be.

    Formula: all of a module's own trainable parameters are without gradient in every recorded window over at least
    ``steps`` steps, although an optimizer holds them and the module runs, and what it gives goes into the loss: from
    function to function, with gradients or without, or by way of numpy. Where torch does not tell of all functions, its
    output flows into other modules or embeddings. A parameter that is unused in a module that otherwise learns, as a
    mask token, is silent. A fact (info) where the module was never called with gradients, as under ``torch.no_grad``,
    and none of its weights was seen to be drawn at random without being loaded: somebody has frozen it there, and
    an optimizer that holds it all the same does nothing to it.
    """

    steps: int = 2

    code = "EG005"
    name = "gradient-cut-off"
    title = "Gradient cut off"
    severity = Severity.WARNING
    page = "coverage"
    signals = (GRADIENT_NORM, MODULE_IN_LOSS)
    source = "derived: no gradient, no step; torchtest: variables that should change change"
    fix = "Look for torch.no_grad, detach, argmax, .data or .item between this module and the loss."
    cures = (Intervention("gradient.kept", site=AT_FINDING), Intervention("gradient.kept"))
    faulty = "with torch.no_grad(): z = head(features)"
    healthy = "with torch.no_grad(): features = tower(x)"
    brought_by = ("EG214",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per tower or head."""
        if history.last_step < self.steps:
            return
        without = _parameters(history, Coverage.HELD_WITHOUT_GRADIENT)
        cut = cut_off(history, without)
        _, drawn = loaded_and_random(history)
        for place, names in last_of(places(cut), history):
            off = all(switched_off(history, parent(name)) for name in names)
            why = "gradients are switched off while it runs" if off else "the path from there to the loss is cut"
            yield self.finding(
                history,
                f"{place} runs, but {listed(names, 'gets', 'get')} no gradient: {why}",
                site=place,
                severity=Severity.INFO if off and not drawn.intersection(names) else None,
                focus=parent(place) if place in names else "",
                evidence={"parameters": names, "switched_off": off},
                fix=_SWITCHED_OFF if off else "",
            )


_SWITCHED_OFF = (
    "Take the torch.no_grad (or set_grad_enabled(False)) away from around this module; where it is meant to stay as it "
    "is, leave its parameters out of the optimizer."
)
_DROPPED = "Leave it out (add_pooling_layer=False, or no head), or use its output in the loss if that was meant."


@dataclass(frozen=True)
class NeverUsed(Rule):
    """Weights are held by the optimizer, but take no part in the loss.

    Why: a module that was built and is not called, or whose output is dropped, is dead weight at best; at worst it is
    the new head that was meant to be trained.

    Formula: no gradient in every recorded window over at least ``steps`` steps for all of a module's own parameters,
    and the module is not called, or what it gives does not go into the loss. A warning where modules that are not
    called were drawn at random and hold at least ``share`` of all weights that an optimizer holds. Less, and a module
    that runs beside what is used (a pooler whose output comes along in a dictionary), are a fact.
    """

    steps: int = 2
    share: float = 0.05

    code = "EG006"
    name = "never-used"
    title = "Parameters take no part in the loss"
    severity = Severity.WARNING
    page = "coverage"
    signals = (GRADIENT_NORM, MODULE_IN_LOSS)
    source = "derived; 5 %: BERT's unused pooler, which does no harm, has 0.5 % of its weights"
    fix = "Call the module in forward, or delete it."
    faulty = "self.head = Linear(512, 256); forward never calls it"
    healthy = "return self.head(pooled)"
    brought_by = ("EG214",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per tower or head."""
        if history.last_step < self.steps:
            return
        without = _parameters(history, Coverage.HELD_WITHOUT_GRADIENT)
        cut = set(cut_off(history, without))
        unused = [
            name
            for module, names in by_module(without)
            for name in names
            if name not in cut and not learns(history, module)
        ]
        sizes = {o.name: prod(o.shape) for o in history.origins}
        loaded, _ = loaded_and_random(history)
        held = sum(sizes.get(site, 0) for site, _ in history.of(GRADIENT_NORM) if site)
        for place, names in places(unused):
            idle = [name for name in names if not runs(history, parent(name))]
            size, fresh = (sum(sizes.get(n, 0) for n in some if n not in loaded) for some in (names, idle))
            share, total = size / max(1, held + size), max(1, held + size)
            what = "no gradient" if idle else f"no gradient: {place} runs, and its output is not used by the loss"
            yield self.finding(
                history,
                f"{listed(names, 'gets', 'get')} {what}, {share:.1%} of the trained weights",
                site=place,
                severity=Severity.WARNING if fresh / total >= self.share else Severity.INFO,
                evidence={"parameters": names, "share": share, "run": len(names) - len(idle)},
                fix="" if idle else _DROPPED,
            )
