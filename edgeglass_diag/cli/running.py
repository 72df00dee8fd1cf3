"""Verbs that run something of the user's: ``run``, ``profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from edgeglass_diag.cli.app import AsJson, FailOn, Ignore, Select, Thresholds, app, check_severity
from edgeglass_diag.records import UsageError

if TYPE_CHECKING:
    from edgeglass_diag.programs.target import Program
    from edgeglass_diag.rules import Rule


class _RunCommand(TyperCommand):
    """A verb whose user may have forgotten the ``--`` before a script's own options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever, and say what to do about an option that is not ours."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if type(error).__name__ != "NoSuchOption":  # typer brings its own copy of click, whose place changes
                raise
            hint = f"the arguments of a script go behind --: edgeglass-diag {self.name} train.py -- --lr 2e-3"
            raise UsageError(f"{self.name}: {' '.join(str(error).split())} ({hint})") from None


@app.command(cls=_RunCommand)
def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET [-- ARGS]", help="Recipe (incident if none is given), YAML file, or program."),
    ] = None,
    module: Annotated[str | None, typer.Option("-m", help="Module to run, as behind python -m.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Serve the dashboard beside the run.")] = False,
    port: Annotated[int, typer.Option(help="Port of the dashboard; the next free one if taken.")] = 8050,
    every: Annotated[int, typer.Option(min=1, help="Distance of recorded windows in optimizer steps.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; below runs/ if not given.")] = None,
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value, e.g. optim.lr=2e-4.")] = [],  # noqa: B006
    stop_on: Annotated[list[str], typer.Option("--stop-on", help="Code of a finding that ends the run.")] = [],  # noqa: B006
    select: Select = [],  # noqa: B006
    ignore: Ignore = [],  # noqa: B006
    thresholds: Thresholds = [],  # noqa: B006
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """Train under observation and flag faults as they appear.

    The target is a recipe, or any training program, which needs no change: a script (train.py -- --lr 2e-3), a
    module (-m pkg.train -- --lr 2e-3), a folder with a __main__.py. A program keeps its stdout and its exit status;
    what we say goes to stderr. With --json its stdout goes to stderr, so that stdout is JSON alone. The processes
    that it starts (torchrun, Fabric, accelerate) are watched as well, each rank into a folder of its own.
    """
    from edgeglass_diag.programs.bootstrap.sitecustomize import decline
    from edgeglass_diag.verbs.options import Options, default_folder
    from edgeglass_diag.verbs.running import Request, run_program, run_recipe

    decline()
    check_severity(fail_on)
    _check_codes(stop_on)
    target, *arguments = words or ["incident"]
    program = _program(target if words else None, arguments, module)
    folder = out if out is not None else default_folder(program.name if program else Path(target).stem, Path("runs"))
    options = Options(every=every, rules=_rules(select, ignore, thresholds), stop_on=tuple(stop_on))
    request = Request(folder, options, port if watch else None, fail_on, as_json)
    if program is None:
        if arguments:
            raise UsageError(f"the recipe {target!r} takes no arguments, got {arguments[0]!r}; --set is for settings")
        run_recipe(target, settings, request)
    else:
        if settings:
            raise UsageError(f"--set {settings[0]}: is for recipes; the arguments of a program go behind --")
        run_program(program, request)


@app.command(cls=_RunCommand)
def profile(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="TARGET [-- ARGS]", help="Recipe, YAML file, or program.")
    ] = None,
    module: Annotated[str | None, typer.Option("-m", help="Module to run, as behind python -m.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps that are traced.")] = 5,
    skip: Annotated[int, typer.Option(min=1, help="Steps before them, which warm up.")] = 3,
    stop: Annotated[
        bool, typer.Option("--stop", help="End a program behind the traced steps; recipes always do.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; below runs/ if not given.")] = None,
    settings: Annotated[list[str], typer.Option("--set", help="section.key=value, e.g. train.batch_size=64.")] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Trace some training steps, and say where their time goes: data wait, forward, backward, optimizer, recorder.

    The target is as for run, and needs no change; a program keeps its stdout and its exit status. The traces, in the
    folder profile of the run, open in TensorBoard (torch-tb-profiler) and in Perfetto. The recorder is attached in
    every traced step, so that its cost is among them.
    """
    from edgeglass_diag.profiling.options import ProfileOptions
    from edgeglass_diag.programs.bootstrap.sitecustomize import decline
    from edgeglass_diag.verbs.options import default_folder
    from edgeglass_diag.verbs.profile import profile_program, profile_recipe

    decline()
    target, *arguments = words or [""]
    if not target and module is None:
        raise UsageError("profile: expected a recipe, a YAML file or a program, got none")
    program = _program(target if words else None, arguments, module)
    folder = out if out is not None else default_folder(program.name if program else Path(target).stem, Path("runs"))
    if program is None:
        if arguments:
            raise UsageError(f"the recipe {target!r} takes no arguments, got {arguments[0]!r}; --set is for settings")
        profile_recipe(target, settings, folder, ProfileOptions(steps, skip, stop=True), as_json=as_json)
    else:
        if settings:
            raise UsageError(f"--set {settings[0]}: is for recipes; the arguments of a program go behind --")
        profile_program(program, folder, ProfileOptions(steps, skip, stop), as_json=as_json)


def _program(target: str | None, arguments: list[str], module: str | None) -> Program | None:
    from edgeglass_diag.programs.target import find_module, find_program

    if module is not None:
        return find_module(module, arguments if target is None else [target, *arguments])
    return None if target is None else find_program(target, arguments)


def _rules(select: list[str], ignore: list[str], thresholds: list[str]) -> list[Rule]:
    from edgeglass_diag.rules import configured, read_table

    return configured(read_table(Path.cwd()), select=select, ignore=ignore, thresholds=thresholds)


def _check_codes(codes: list[str]) -> None:
    from edgeglass_diag.verbs.catalogue import catalogue

    known = {entry["code"] for entry in catalogue() if entry["of"] == "run"} if codes else set()
    for code in codes:
        if code not in known:
            raise UsageError(f"--stop-on: no rule {code!r}; see 'edgeglass-diag rules'")
