"""An init certificate: the statistics of an initialisation over several seeds, to be kept and compared with later."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeglass_diag.initcheck.inspect import Inspection
from edgeglass_diag.signals.activations import ACTIVATION_RMS
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY, ATTENTION_LOGIT_STD
from edgeglass_diag.signals.parameters import GRADIENT_NORM

SEEDS = 5
_PREDICTED_LOGIT_STD, _PARAMETER_STD = "attention/predicted_logit_std", "parameter/std"
"""Statistics of a certificate that are no signals of a run."""
_T = {2: 636.6, 3: 31.60, 4: 12.92, 5: 8.610, 6: 6.869, 7: 5.959, 8: 5.408, 9: 5.041, 10: 4.781}
"""99.9 % quantiles of Student's t, two-sided, by number of seeds: https://www.itl.nist.gov/div898/handbook."""
_LEAST = 1e-3
"""Relative change that is never reported: other kernels of another processor or version of torch round differently."""


@dataclass(frozen=True, slots=True)
class Change:
    """A statistic that left its tolerance, or a place that came or went."""

    site: str
    statistic: str
    before: str
    now: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.site}  {self.statistic}: {self.before} -> {self.now}  (allowed {self.allowed})"


def certify(inspections: Sequence[Inspection]) -> dict[str, Any]:
    """Return the mean and tolerance of every statistic, ready for JSON.

    The tolerance is the 99.9 % prediction interval of one more draw, t sd sqrt(1 + 1 / n), with the standard deviation
    over the seeds; at least a thousandth of the mean.

    Args:
        inspections: of one model with different seeds, two to ten.

    Raises:
        ValueError: for another number of them.
    """
    count = len(inspections)
    if count not in _T:
        raise ValueError(f"a certificate needs 2 to 10 inspections, got {count}")
    statistics: dict[str, dict[str, list[float]]] = {}
    for inspection in inspections:
        for statistic, site, value in _statistics(inspection):
            statistics.setdefault(statistic, {}).setdefault(site, []).append(value)
    return {
        "seeds": count,
        "shapes": {p.name: list(p.shape) for p in inspections[0].parameters},
        "statistics": {
            name: {site: _interval(values, _T[count] * math.sqrt(1 + 1 / count)) for site, values in sites.items()}
            for name, sites in statistics.items()
        },
    }


def changes(certificate: Mapping[str, Any], inspection: Inspection) -> list[Change]:
    """Return what an inspection shows otherwise than the certificate allows.

    Raises:
        ValueError: where the certificate lacks a part.
    """
    try:
        shapes, statistics = certificate["shapes"], certificate["statistics"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an init certificate: expected 'shapes' and 'statistics', lacks {error}") from error
    now = {p.name: list(p.shape) for p in inspection.parameters}
    found = [
        Change(name, "shape", _shape(shapes.get(name)), _shape(now.get(name)), "no change")
        for name in {**shapes, **now}
        if shapes.get(name) != now.get(name)
    ]
    odd = {change.site for change in found}
    present = {(statistic, site): value for statistic, site, value in _statistics(inspection)}
    known = {(s, site): (float(m), float(t)) for s, sites in statistics.items() for site, (m, t) in sites.items()}
    for key in {**known, **present}:
        statistic, site = key
        if site in odd:
            continue
        mean, tolerance = known.get(key, (math.nan, math.nan))
        value = present.get(key, math.nan)
        if key in known and key in present and _inside(value, mean, tolerance):
            continue
        allowed = f"{mean:.4g} ± {tolerance:.2g}" if key in known and key in present else "no change"
        before = f"{mean:.4g}" if key in known else "absent"
        found.append(Change(site, statistic, before, f"{value:.4g}" if key in present else "absent", allowed))
    return found


def _statistics(inspection: Inspection) -> Iterator[tuple[str, str, float]]:
    for attention in inspection.attention:
        yield ATTENTION_LOGIT_STD, attention.site, attention.logit_std
        yield ATTENTION_ENTROPY, attention.site, attention.entropy
        if attention.predicted_logit_std is not None:
            yield _PREDICTED_LOGIT_STD, attention.site, attention.predicted_logit_std
    for module in inspection.modules:
        yield ACTIVATION_RMS, module.site, module.rms
    for parameter in inspection.parameters:
        yield _PARAMETER_STD, parameter.name, parameter.std
        if parameter.gradient is not None:
            yield GRADIENT_NORM, parameter.name, parameter.gradient


def _interval(values: Sequence[float], factor: float) -> list[float]:
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1))
    return [mean, max(factor * spread, _LEAST * abs(mean), 1e-9)]


def _inside(value: float, mean: float, tolerance: float) -> bool:
    if math.isnan(mean) or math.isnan(value):
        return math.isnan(mean) and math.isnan(value)
    return value == mean or abs(value - mean) <= tolerance


def _shape(shape: Sequence[int] | None) -> str:
    return "absent" if shape is None else "x".join(map(str, shape)) or "scalar"
