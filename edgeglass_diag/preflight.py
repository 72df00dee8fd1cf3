"""Check a target before its first optimizer step: a recipe, a program, or a function that builds a model."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgeglass_diag.programs.targets import BuildFunction, Program, Recipe, Target, resolve, wrong_kind
from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from torch import nn

    from edgeglass_diag.initcheck.first_step import FirstStep
    from edgeglass_diag.initcheck.report import CheckReport
    from edgeglass_diag.rules import Rule

EXPECTED = "a recipe, a YAML file, a script, or package.module:build"
NO_BATCH = "build gives no batch: only where initial values come from is shown"


def check(
    target: str | nn.Module | Callable[[], object] | tuple[object, ...],
    *,
    settings: Sequence[str] = (),
    rules: Sequence[Rule | str] | None = None,
    probes: bool = False,
) -> CheckReport:
    """Check a model before its first optimizer step; nothing is trained.

    Args:
        target: name or YAML file of a recipe, a function as ``package.module:build``, or a function itself, which
            returns a model, (model, batch), or (model, optimizer, step). Of a function it is known where each
            initial value comes from; such a return value itself is taken too, of which that is not known.
        settings: ``section.key=value`` of a recipe, ``name=value`` of a named function.
        rules: rule objects or codes; all as configured in pyproject.toml if None.
        probes: whether changes of the inputs are tried on forked copies of this process.

    Raises:
        UsageError: if the target cannot be built, or is a script, which ``edgeglass-diag check`` runs.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> report = check(lambda: (nn.Linear(4, 2), torch.randn(8, 4)))
        >>> [finding.code for finding in report.findings], list(report.statuses)
        ([], ['weight', 'bias'])
    """
    from torch import nn

    from edgeglass_diag.rules.choice import choose_rules

    chosen = choose_rules(rules)
    if isinstance(target, str):
        resolved = resolve([target], settings=settings)
        if isinstance(resolved, Program):
            raise UsageError(f"check: {target} is a program, which only the command line runs: edgeglass-diag check")
        return check_target(resolved, chosen, probes=probes)
    if settings:
        raise UsageError(f"settings: are for names of recipes and functions, got {settings[0]!r} and a Python object")
    if callable(target) and not isinstance(target, nn.Module):
        build: Callable[[], object] = target
        return _check_build(build, getattr(target, "__name__", "build"), chosen, probes=probes)
    return _check_build(lambda: target, "target", chosen, probes=probes)


def check_target(target: Target, rules: Sequence[Rule], *, probes: bool = False) -> CheckReport:
    """Check a resolved target.

    Raises:
        UsageError: if it is a run folder, or cannot be built or run up to its first step.
    """
    match target:
        case Recipe():
            return check_recipe(target.target, target.settings, rules, probes=probes)
        case BuildFunction():
            return check_function(target.target, target.settings, rules, probes=probes)
        case Program():
            return check_program(target, rules, probes=probes)
    raise wrong_kind("check", EXPECTED, target)


def check_recipe(target: str, settings: Sequence[str], rules: Sequence[Rule], *, probes: bool = False) -> CheckReport:
    """Check the run of a recipe, with features drawn in place of those of its towers.

    Raises:
        UsageError: if there is no such recipe, its settings are wrong, or it has several runs.
    """
    from edgeglass_diag.provider_protocols import provider

    try:
        starts = provider().begin(target, settings)
    except ValueError as error:
        hint = "; a script ends in .py, a module goes behind -m, a function reads package.module:build"
        raise UsageError(f"{error}{hint if '.' not in target else ''}") from error
    if len(starts) != 1:
        raise UsageError(f"check {target}: expected one run, got {', '.join(start.name for start in starts)}")
    from edgeglass_diag.initcheck.check import Subject, judged, look

    (start,) = starts

    def make() -> Subject:
        model, optimizer = start.build()
        return Subject(model, start.batch(), optimizers=[optimizer])

    first, _ = look(make, seed=start.seed, where=target, probed=probes)
    return _seen(judged(start.name, first, rules, sample=start.note), target)


def check_function(target: str, settings: Sequence[str], rules: Sequence[Rule], *, probes: bool = False) -> CheckReport:
    """Check what ``package.module:build`` makes; see ``initcheck.check.subject_of`` for what it may return.

    A function that takes an argument is given a mapping of the settings, as ``explain`` does.

    Raises:
        UsageError: if it cannot be imported, or returns something else.
    """
    build = _function(target)
    arguments = _arguments(build, target, settings)
    return _check_build(lambda: build(*arguments), target, rules, probes=probes)


def _check_build(build: Callable[[], object], where: str, rules: Sequence[Rule], *, probes: bool) -> CheckReport:
    from edgeglass_diag.initcheck.check import judged, look, subject_of

    first, subject = look(lambda: subject_of(build(), where), seed=0, where=where, probed=probes)
    sample = "what step() does" if subject.step is not None else "the batch that build gives" if subject.runs else ""
    return _seen(judged(where, first, rules, sample=sample, notes=[] if subject.runs else [NO_BATCH]), where)


def check_program(program: Program, rules: Sequence[Rule], *, probes: bool = False) -> CheckReport:
    """Run a program up to its first optimizer step, which is not taken, and check what was observed.

    Raises:
        UsageError: if it fails before that, or trains nothing.
    """
    from edgeglass_diag.programs.bootstrap.edgeglass_diag_after_import import call_after_import
    from edgeglass_diag.programs.launch import exit_status, launch, print_error

    first: list[FirstStep] = []

    def attach() -> None:
        from edgeglass_diag.initcheck.first_step import FirstStep

        first.append(FirstStep(probed=probes).__enter__())

    call_after_import("torch", attach)
    error = launch(program)
    for each in first:
        each.__exit__(None, None, None)
    reached = bool(first) and first[0].reached
    if not reached and error is not None and not isinstance(error, SystemExit):
        print_error(error)
    if not reached and exit_status(error):
        raise UsageError(f"{program.name}: ended with exit status {exit_status(error)} before its first optimizer step")
    from edgeglass_diag.initcheck.check import judged

    note = "stopped before its first optimizer step: nothing was trained" if reached else "ended without a step"
    found = judged(program.name, first[0], rules, sample="its first batch", notes=[note]) if first else None
    if found is None:
        raise UsageError(f"{program.name}: expected a program that trains with torch; it ended without a step")
    return found


def _seen(checked: CheckReport | None, target: str) -> CheckReport:
    assert checked is not None, f"{target}: a step always ends a window"
    return checked


def _function(target: str) -> Callable[..., Any]:
    place, _, name = target.partition(":")
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"{target}: no module named {error.name!r} here or installed") from None
    build = getattr(module, name, None)
    if not callable(build):
        got = "nothing of that name" if build is None else type(build).__name__
        raise UsageError(f"{target}: expected a function {name!r} in {place}; got {got}")
    return build  # type: ignore[no-any-return]


def _arguments(build: Callable[..., Any], target: str, settings: Sequence[str]) -> list[dict[str, Any]]:
    parameters = inspect.signature(build).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        names = ", ".join(p.name for p in required)
        raise UsageError(f"{target}: expected a function of nothing or of its settings; it requires {names}")
    if not required and not (settings and positional):
        if settings:
            raise UsageError(f"--set {settings[0]}: {target} takes no settings")
        return []
    return [dict(_setting(text) for text in settings)]


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f"--set {text}: expected name=value")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(f"--set {text}: the value is not valid YAML") from None
