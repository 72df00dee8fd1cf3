"""EG008 to EG011: parameters whose role changes while they train, and optimizers that do not follow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.cures import INCLUDED
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed, places
from edgeglass_diag.signals.parameters import GRADIENT_NORM, OPTIMIZER_MOVING, OPTIMIZER_ORPHANS
from edgeglass_diag.site_paths import common
from edgeglass_diag.sites import Coverage, ParameterSite

_STEPS = 2
"""Steps that a change has stood for before it is judged: an optimizer may be given its new parameters after it."""


def not_held(history: History) -> list[ParameterSite]:
    """Return the parameters that get gradients and that no optimizer holds."""
    return [s for s in history.sites_of(ParameterSite) if s.coverage is Coverage.NOT_HELD_WITH_GRADIENT]


def _stands(history: History, since: int | None) -> bool:
    return since is not None and history.last_step >= since + _STEPS


def has_changed(site: ParameterSite) -> bool:
    """Return whether a parameter became trainable, or came into its place, while the training ran."""
    return site.trainable_since is not None or site.replaced_since is not None


def unfrozen(history: History) -> list[ParameterSite]:
    """Return the parameters that were frozen, require a gradient by now, and are in no optimizer."""
    return [site for site in not_held(history) if _stands(history, site.trainable_since)]


def replaced(history: History) -> list[ParameterSite]:
    """Return the parameters in whose place another tensor lay before, which are in no optimizer."""
    return [site for site in not_held(history) if _stands(history, site.replaced_since)]


@dataclass(frozen=True)
class UnfrozenNotHeld(Rule):
    """Parameters are made trainable while the training runs, and no optimizer holds them.

    Why: an optimizer steps what it was given when it was made. Where that was ``filter(lambda p: p.requires_grad)``,
    what is unfrozen later gets gradients and never moves.

    Formula: ``requires_grad`` was False in a recorded window and is True in a later one, two steps ago or more; there
    is a gradient, and no optimizer that has stepped holds the parameter.
    """

    code = "EG008"
    name = "unfrozen-not-held"
    title = "Unfrozen parameters are in no optimizer"
    severity = Severity.WARNING
    page = "coverage"
    signals = (GRADIENT_NORM,)
    source = "derived: an optimizer steps the tensors of its groups; DeepSpeed #1767, fastai #2133"
    fix = "Give them to the optimizer where they are unfrozen: optimizer.add_param_group({'params': ...})."
    cures = INCLUDED
    faulty = "AdamW(p for p in parameters if p.requires_grad); later encoder.requires_grad_(True)"
    healthy = "encoder.requires_grad_(True); optimizer.add_param_group({'params': encoder.parameters()})"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per tower or head."""
        found = {site.path: site for site in unfrozen(history)}
        for place, names in places(found):
            since = min(found[name].trainable_since or 0 for name in names)
            yield self.finding(
                history,
                f"{listed(names, 'is', 'are')} trainable since step {since}, "
                f"{'gets' if len(names) == 1 else 'get'} gradients and {'is' if len(names) == 1 else 'are'} in no "
                "optimizer",
                site=place,
                since=since,
                evidence={"parameters": names},
            )


@dataclass(frozen=True)
class ParametersReplaced(Rule):
    """The optimizer holds tensors that the model no longer has; those in their place are in no optimizer.

    Why: a new head, ``resize_token_embeddings``, ``nn.Parameter(...)`` or a move that makes new tensors leaves the
    optimizer with the old ones. It steps on, and the model does not change.

    Formula: parameters get gradients and are in no optimizer, and in their place lay another tensor in an earlier
    window; or an optimizer holds tensors without gradient that no module has, from the beginning. Critical where no
    tensor that an optimizer holds has a gradient.
    """

    code = "EG009"
    name = "parameters-replaced"
    title = "Optimizer holds parameters that the model no longer has"
    severity = Severity.WARNING
    page = "coverage"
    signals = (OPTIMIZER_ORPHANS, OPTIMIZER_MOVING)
    source = "derived: an optimizer holds tensors, not names; torch.optim says to move a model before it is made"
    fix = (
        "Make the optimizer after the last change of the model's modules (a new head, resize_token_embeddings, .to()), "
        "or give it the new parameters by add_param_group."
    )
    cures = INCLUDED
    faulty = "optimizer = AdamW(model.parameters()); model.head = nn.Linear(512, 10)"
    healthy = "model.head = nn.Linear(512, 10); optimizer = AdamW(model.parameters())"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all."""
        if history.last_step < _STEPS:
            return
        moving, orphans = history.series(OPTIMIZER_MOVING), history.series(OPTIMIZER_ORPHANS)
        severity = Severity.CRITICAL if len(moving) and moving.last == 0 else Severity.WARNING
        new = replaced(history)
        count = int(orphans.last) if len(orphans) else 0
        names = [site.path for site in new or not_held(history)]
        if new:
            since = min(site.replaced_since or 0 for site in new)
            detail = (
                f"since step {since} {listed(names, 'is another tensor', 'are other tensors')} than the one it steps"
            )
        elif count and names:
            since = None
            detail = (
                f"{count} of its tensors are in no module and have no gradient, while {listed(names, 'gets', 'get')} "
                "gradients and no optimizer holds them"
            )
        else:
            return
        yield self.finding(
            history,
            detail,
            site=common(names),
            severity=severity,
            since=since,
            evidence={"parameters": names[:20], "tensors_in_no_module": count},
        )


@dataclass(frozen=True)
class WeightsUntied(Rule):
    """Weights that were one tensor are two by now, and are trained apart.

    Why: tied input and output embeddings are one set of weights. Replaced on one side they go different ways, and a
    checkpoint that holds one of them gives another model.

    Formula: two places of the model held one tensor in a recorded window and hold two in a later one, two steps ago or
    more. A fact (info) where the new one is in no optimizer: EG009 says that.
    """

    code = "EG010"
    name = "weights-untied"
    title = "Tied weights are no longer tied"
    severity = Severity.WARNING
    page = "coverage"
    signals = (GRADIENT_NORM,)
    source = "derived; transformers: tie_weights() is to be called after embeddings are replaced"
    fix = "Tie them again after the replacement: model.tie_weights(), or head.weight = embedding.weight."
    faulty = "model.embed.weight = nn.Parameter(wider); model.head.weight stays as it was"
    healthy = "model.embed.weight = model.head.weight = nn.Parameter(wider)"
    brought_by = ("EG009",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair."""
        absent = {site.path for site in not_held(history)}
        for site in history.sites_of(ParameterSite):
            if site.untied_from and _stands(history, site.replaced_since):
                yield self.finding(
                    history,
                    f"{site.path} and {site.untied_from} were one tensor, and are two since step {site.replaced_since}",
                    site=site.path,
                    severity=Severity.INFO if site.path in absent else None,
                    since=site.replaced_since,
                    evidence={"other": site.untied_from},
                )


@dataclass(frozen=True)
class FrozenMidway(Rule):
    """Parameters that were trained are frozen while the training runs.

    Why: that is done on purpose, and it is left behind by mistake, as by an evaluation that switches
    ``requires_grad`` off and does not switch it on again. The record does not tell which.

    Formula: a parameter had gradients, and ``requires_grad`` is False by now.
    """

    code = "EG011"
    name = "frozen-midway"
    title = "Parameters frozen while training"
    severity = Severity.INFO
    page = "coverage"
    signals = (GRADIENT_NORM,)
    source = "derived: without requires_grad there is no gradient and no step"
    fix = "Nothing, where it is meant; otherwise look for requires_grad_(False) near that step."
    faulty = "evaluate(model.requires_grad_(False))  # and nothing switches it on again"
    healthy = "with torch.no_grad(): evaluate(model)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per tower or head."""
        frozen = {
            site.path: site
            for site in history.sites_of(ParameterSite)
            if _stands(history, site.frozen_since) and len(history.series(GRADIENT_NORM, site.path))
        }
        for place, names in places(frozen):
            since = min(frozen[name].frozen_since or 0 for name in names)
            yield self.finding(
                history,
                f"{listed(names, 'has', 'have')} been trained, and frozen since step {since}",
                site=place,
                since=since,
                evidence={"parameters": names},
            )
