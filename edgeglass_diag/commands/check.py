"""The verb ``check``: preflight before the first step."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeglass_diag.commands.gate import Gate
from edgeglass_diag.commands.options import (
    AsJson,
    BaselineFile,
    FailOn,
    Ignore,
    Module,
    SarifFile,
    Select,
    Thresholds,
    UpdateBaseline,
    chosen_rules,
)
from edgeglass_diag.commands.output import print_json, print_parts, stdout_kept
from edgeglass_diag.records import UsageError


def check(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET [-- ARGS]", help="Recipe, YAML file, script, or package.module:build."),
    ] = None,
    module: Module = None,
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value of a recipe, or of build.")] = [],  # noqa: B006
    select: Select = [],  # noqa: B006
    ignore: Ignore = [],  # noqa: B006
    thresholds: Thresholds = [],  # noqa: B006
    probes: Annotated[
        bool, typer.Option("--probes", help="Try changes of the inputs on copies of the process: what must matter?")
    ] = False,
    fail_on: FailOn = None,
    sarif: SarifFile = None,
    baseline: BaselineFile = None,
    update: UpdateBaseline = False,
    as_json: AsJson = False,
) -> None:
    """Preflight, no training: where each initial value comes from, and what one batch makes of it.

    A recipe is built with features drawn in place of its towers' and data. A script or module runs as ever up to its
    first optimizer step, which is not taken; processes that it starts are not followed. A function build, called with
    nothing or with the mapping of --set, gives a model, (model, batch), or (model, optimizer, step).
    """
    from edgeglass_diag.gate.results import Judged
    from edgeglass_diag.programs.environment import clear_env
    from edgeglass_diag.programs.targets import resolve, source_of

    clear_env()
    gate = Gate.of(fail_on, sarif, baseline, update)
    if not words and module is None:
        raise UsageError("check: expected a target: a recipe, a YAML file, a script, or package.module:build")
    rules = chosen_rules(select, ignore, thresholds)
    target = resolve(words or [], module, settings)
    file = source_of(target)
    with stdout_kept(as_json) as stdout:
        from edgeglass_diag.preflight import check_target

        report = check_target(target, rules, probes=probes)
        if as_json:
            print_json(report.as_dict(), stdout)
        else:
            from edgeglass_diag.commands.render.check import check_tables

            print_parts(check_tables(report))
    gate.end([Judged(report.findings, file=file)])
