"""Why does my vision-text alignment model not learn, and what do I change?

``import edgeglass_diag as eg``::

    with eg.watch(model, optimizer, out="runs/mine"):   # record a training and judge it as it goes
        for images, texts in loader: ...

    run = eg.load("runs/mine")                          # read the record
    run.findings, run.frame("attention/entropy")
    print(eg.diagnose(run))                             # one answer: what is wrong, proved or guessed, and what next
    eg.explain(run, against="baseline")                 # the cause, by replays that differ in one thing
    eg.check("mypackage.model:build")                   # before the first step
    eg.audit("metrics.csv")                             # logged numbers alone
    eg.evaluate("embeddings.npz")                       # retrieval and geometry

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeglass_diag.auditing.report import AuditReport, audit
    from edgeglass_diag.diagnosis.diagnose import Diagnosis, diagnose
    from edgeglass_diag.evaluation.attribution import Attribution, attribute
    from edgeglass_diag.evaluation.evaluate import EvaluationReport, evaluate
    from edgeglass_diag.explanation.explain import explain
    from edgeglass_diag.explanation.report import ExplainReport
    from edgeglass_diag.guard.init_guard import init_guard
    from edgeglass_diag.initcheck.inspect import Inspection, inspect_init
    from edgeglass_diag.initcheck.report import CheckReport
    from edgeglass_diag.preflight import check
    from edgeglass_diag.process import StopTraining
    from edgeglass_diag.programs.environment import is_recorded
    from edgeglass_diag.records import Finding, Findings, Severity, UsageError
    from edgeglass_diag.rules import Rule, all_rules
    from edgeglass_diag.schedule import Schedule
    from edgeglass_diag.signals import Signal
    from edgeglass_diag.sites import Site
    from edgeglass_diag.store import Run, load
    from edgeglass_diag.watch_block import watch
    from edgeglass_diag.watching import Watch

    __version__: str

__all__ = [
    "Attribution",
    "AuditReport",
    "CheckReport",
    "Diagnosis",
    "EvaluationReport",
    "ExplainReport",
    "Finding",
    "Findings",
    "Inspection",
    "Rule",
    "Run",
    "Schedule",
    "Severity",
    "Signal",
    "Site",
    "StopTraining",
    "UsageError",
    "Watch",
    "__version__",
    "all_rules",
    "attribute",
    "audit",
    "check",
    "diagnose",
    "evaluate",
    "explain",
    "init_guard",
    "inspect_init",
    "is_recorded",
    "load",
    "watch",
]

_HOMES = {
    "Attribution": "evaluation.attribution",
    "AuditReport": "auditing.report",
    "CheckReport": "initcheck.report",
    "Diagnosis": "diagnosis.diagnose",
    "EvaluationReport": "evaluation.evaluate",
    "ExplainReport": "explanation.report",
    "Finding": "records",
    "Findings": "records",
    "Inspection": "initcheck.inspect",
    "Rule": "rules",
    "Run": "store",
    "Schedule": "schedule",
    "Severity": "records",
    "Signal": "signals",
    "Site": "sites",
    "StopTraining": "process",
    "UsageError": "records",
    "Watch": "watching",
    "all_rules": "rules",
    "attribute": "evaluation.attribution",
    "audit": "auditing.report",
    "check": "preflight",
    "diagnose": "diagnosis.diagnose",
    "evaluate": "evaluation.evaluate",
    "explain": "explanation.explain",
    "init_guard": "guard.init_guard",
    "inspect_init": "initcheck.inspect",
    "is_recorded": "programs.environment",
    "load": "store",
    "watch": "watch_block",
}
"""The module of each name, which is imported when the name is first used."""


def __getattr__(name: str) -> Any:
    import importlib
    import sys

    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("edgeglass-diag")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"edgeglass_diag.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'edgeglass_diag' has no attribute {name!r}")
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
