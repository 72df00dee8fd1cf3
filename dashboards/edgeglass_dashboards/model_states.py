"""What is known of each module of a run: findings first, then what was measured against its bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from edgeglass_diag import site_paths
from edgeglass_diag.figures.heatmaps import shown_values
from edgeglass_diag.figures.model_map import OK, UNKNOWN, State
from edgeglass_diag.figures.of_run import profile_at, read_newest
from edgeglass_diag.figures.profile import fed_sites
from edgeglass_diag.figures.scales import scale_of
from edgeglass_diag.headline import title_of
from edgeglass_diag.records import Finding
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY, ATTENTION_LOGIT_MAX
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.site_coverage import Coverage
from edgeglass_diag.sites import AttentionSite, ModuleSite, ParameterSite, Site
from edgeglass_diag.store import Run

Known = Iterator[tuple[str, State]]
"""Path of a module (or of what lies in it) and something that is known of it."""


def states_of(run: Run, sites: Sequence[Site], findings: Sequence[Finding]) -> dict[str, State]:
    """Return the worst that is known of each module, by path; what was not measured is missing.

    Args:
        run: the run.
        sites: all of it.
        findings: about the model.
    """
    modules = {site.path for site in sites if isinstance(site, ModuleSite) and site.path}
    attentions = {site.path: site.module for site in sites if isinstance(site, AttentionSite)}
    known: dict[str, State] = {}
    for known_of in (
        _findings(run, findings),
        _signal(run),
        _gradients(run),
        _without(sites),
        _attention(run),
        _coverage(sites),
    ):
        for path, state in known_of:
            module = _module_of(attentions.get(path, path), modules)
            if module and (module not in known or state.rank < known[module].rank):
                known[module] = state
    return known


def _module_of(path: str, modules: AbstractSet[str]) -> str:
    """The module at a path, or the innermost that holds it; empty where there is none but the whole model."""
    bare = site_paths.first_call(path.partition("[")[0])
    while bare and bare not in modules:
        bare = site_paths.parent(bare)
    return bare


def _findings(run: Run, findings: Sequence[Finding]) -> Known:
    for finding in findings:
        title = title_of(finding, run.rules)
        for site in dict.fromkeys((*(finding.sites or (finding.site,)), finding.focus)):
            if site:
                yield site, State(str(finding.severity), title)


def _signal(run: Run) -> Known:
    _, stages = profile_at(run, None)
    fed = fed_sites(stages)
    for stage in stages:
        if not stage.is_dead:
            yield stage.site, OK
        elif not math.isfinite(stage.signal):
            yield stage.site, State("warning", "not finite")
        elif stage.site in fed:
            yield stage.site, State("warning", "signal lost")


def _gradients(run: Run) -> Known:
    """The largest gradient of each module's own parameters: one of a bias alone may be next to nothing."""
    largest: dict[str, float] = {}
    for path, value in _newest(run, GRADIENT_NORM):
        if path:
            module = site_paths.parent(path)
            largest[module] = max(value, largest.get(module, 0.0), key=lambda v: math.inf if math.isnan(v) else v)
    scale = scale_of(GRADIENT_NORM, run.rules)
    for module, value in largest.items():
        if not math.isfinite(value):
            yield module, State("warning", "gradient not finite")
        elif value == 0:
            yield module, State("info", "gradient 0")
        elif scale.is_healthy(value):
            yield module, OK
        else:
            small = scale.low is not None and value < scale.low
            yield module, State("info", f"gradient {'vanishes' if small else 'explodes'}")


def _without(sites: Sequence[Site]) -> Known:
    """Modules none of whose own parameters gets a gradient, although an optimizer holds them: no norm is recorded."""
    parameters = [site for site in sites if isinstance(site, ParameterSite)]
    trained = {site_paths.parent(site.path) for site in parameters if site.is_observed}
    for site in parameters:
        if site.coverage is Coverage.HELD_WITHOUT_GRADIENT and site_paths.parent(site.path) not in trained:
            yield site_paths.parent(site.path), State("info", "no gradient")


def _attention(run: Run) -> Known:
    for signal, words in ((ATTENTION_ENTROPY, "attention uniform"), (ATTENTION_LOGIT_MAX, "logits explode")):
        scale = scale_of(signal, run.rules)
        for path, value in _newest(run, signal):
            yield path, OK if scale.is_healthy(value) else State("info", words)


def _coverage(sites: Sequence[Site]) -> Known:
    for site in sites:
        if isinstance(site, (ModuleSite, AttentionSite)) and not site.is_observed:
            yield site.path, State(UNKNOWN.tone, "not observed")


def _newest(run: Run, signal: Signal) -> Iterator[tuple[str, float]]:
    scale = scale_of(signal, run.rules)
    matrix = read_newest(run, signal, component=scale.component)
    if matrix is None:
        return
    values = shown_values(matrix, scale)
    for row, site in enumerate(matrix.sites):
        recorded = matrix.count[row].nonzero()[0]
        if len(recorded):
            yield site, math.nan if matrix.nans[row, recorded[-1]] else float(values[row, recorded[-1]])
