"""What a preflight found, and the facts that are read from it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeglass_diag import site_paths
from edgeglass_diag.initcheck.inspect import Inspection
from edgeglass_diag.initcheck.parameter_status import ParameterStatus
from edgeglass_diag.initcheck.prediction import unrelated_loss
from edgeglass_diag.probe_sites import ProbeSite
from edgeglass_diag.records import Finding, ParameterOrigin
from edgeglass_diag.shown import Shown
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.losses import LOSS_CANDIDATES, LOSS_CHANCE, LOSS_LOGIT_STD, LOSS_TOTAL, LOSS_WEIGHT
from edgeglass_diag.signals.probes import PROBE_LOSS, PROBE_OUTPUT_CHANGE, PROBE_REFERENCE
from edgeglass_diag.sites import LossSite

if TYPE_CHECKING:
    from edgeglass_diag.notebooks.document import Document


@dataclass(frozen=True)
class CheckReport(Shown):
    """What a preflight found.

    Attributes:
        name: of the target.
        inspection: what was observed: attention, modules, parameters, and where their initial values come from.
        statuses: of each parameter by name: trainable, held by an optimizer, reached by a gradient.
        findings: of the rules that judge a model before its first step, the most severe first.
        sample: what the model was called with, empty if nothing.
        notes: what was not checked, and why.
        verdict: the result in sentences, the most important first.
    """

    name: str
    inspection: Inspection
    statuses: Mapping[str, ParameterStatus]
    findings: tuple[Finding, ...]
    sample: str
    notes: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what ``check --json`` prints."""
        from edgeglass_diag.initcheck.summary import check_summary

        return check_summary(self)

    def _document(self) -> Document:
        from edgeglass_diag.notebooks.of_check import check_document

        return check_document(self)


def modules(checked: CheckReport) -> list[dict[str, Any]]:
    """Return the sample signal along the model, and the norm of the gradient of each module's own parameters."""
    squares: defaultdict[str, float] = defaultdict(float)
    for name, status in checked.statuses.items():
        if status.gradient is not None:
            squares[site_paths.parent(name)] += status.gradient**2
    return [
        {
            "site": module.site,
            "kind": module.kind,
            "rms": module.rms,
            "sample_signal": module.sample_signal,
            "gradient": math.sqrt(squares[own]) if (own := site_paths.first_call(module.site)) in squares else None,
        }
        for module in checked.inspection.modules
    ]


def loss(checked: CheckReport) -> dict[str, float | None] | None:
    """Return the loss and the values to compare it with; None if no loss was seen.

    ``chance`` is the loss of equal logits (ln B and the like), ``unrelated`` that of unrelated pairs whose logits
    are as spread as these (None if a loss is no softmax).
    """
    total, chance = reading(checked, LOSS_TOTAL, ""), reading(checked, LOSS_CHANCE, "")
    if total is None or chance is None:
        return None
    return {"value": total, "chance": chance, "unrelated": _unrelated(checked)}


def probes(checked: CheckReport) -> list[dict[str, Any]]:
    """Return what was tried on copies of the process, in its order; empty without ``--probes``."""
    return [
        {
            "change": site.change,
            "input": site.argument or None,
            "shape": list(site.shape) or None,
            "dtype": site.dtype or None,
            "loss": reading(checked, PROBE_LOSS, site.path),
            "unchanged": reading(checked, PROBE_REFERENCE, site.path),
            "output_change": reading(checked, PROBE_OUTPUT_CHANGE, site.path),
            "not_probed": None if site.is_observed else site.detail,
        }
        for site in checked.inspection.window.sites
        if isinstance(site, ProbeSite)
    ]


def _unrelated(checked: CheckReport) -> float | None:
    sites = [r.site for r in checked.inspection.window.readings if r.signal == LOSS_WEIGHT]
    sigmoid = {s.path for s in checked.inspection.window.sites if isinstance(s, LossSite) and s.is_sigmoid}
    expected = 0.0
    for site in sites:
        weight, std, count = (
            reading(checked, signal, site) for signal in (LOSS_WEIGHT, LOSS_LOGIT_STD, LOSS_CANDIDATES)
        )
        if weight is None or std is None or count is None or count < 2 or site in sigmoid:
            return None
        expected += weight * unrelated_loss(std * math.sqrt(count / (count - 1)), round(count))
    return expected


def reading(checked: CheckReport, signal: Signal, site: str) -> float | None:
    """Return the mean of a reading over its components, None if there is none."""
    found = [r for r in checked.inspection.window.readings if (r.signal, r.site) == (signal, site)]
    return math.fsum(found[-1].values) / len(found[-1].values) if found else None


def overwritten(origin: ParameterOrigin) -> bool:
    """Return whether the model's own code draws the values twice; a layer's default before it does not count."""
    own = [w for w in origin.writes if w.random and not w.default and not w.partial]
    return len({(w.file, w.line, w.op) for w in own}) > 1
