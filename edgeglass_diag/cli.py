"""The command line. Each verb's work lives in ``edgeglass_diag.verbs``; everything heavy is imported where used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from edgeglass_diag.records import UsageError
from edgeglass_diag.verbs.printing import exit_on, print_comparison, print_findings, print_json, terminal

if TYPE_CHECKING:
    from edgeglass_diag.programs.target import Program
    from edgeglass_diag.rules import Rule

app = typer.Typer(
    help="Why does my vision-text alignment model not learn, and what do I change?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]
Select = Annotated[list[str], typer.Option("--select", help="Codes or prefixes of the rules that run.")]
Ignore = Annotated[list[str], typer.Option("--ignore", help="Codes or prefixes of rules that do not run.")]
FailOn = Annotated[str | None, typer.Option("--fail-on", help="warning or critical: exit status 1 from there on.")]


def main() -> None:
    """Run the command line; wrong use ends with exit status 2 and one line on stderr."""
    try:
        app()
    except UsageError as error:
        print(f"edgeglass-diag: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None


class _RunCommand(TyperCommand):
    """``run``, whose user may have forgotten the ``--`` before a script's own options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever, and say what to do about an option that is not ours."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if type(error).__name__ != "NoSuchOption":  # typer brings its own copy of click, whose place changes
                raise
            hint = "the arguments of a script go behind --: edgeglass-diag run train.py -- --lr 2e-3"
            raise UsageError(f"run: {' '.join(str(error).split())} ({hint})") from None


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
    _check_severity(fail_on)
    _check_codes(stop_on)
    target, *arguments = words or ["incident"]
    program = _program(target if words else None, arguments, module)
    folder = out if out is not None else default_folder(program.name if program else Path(target).stem, Path("runs"))
    options = Options(every=every, rules=_rules(select, ignore), stop_on=tuple(stop_on))
    request = Request(folder, options, port if watch else None, fail_on, as_json)
    if program is None:
        if arguments:
            raise UsageError(f"the recipe {target!r} takes no arguments, got {arguments[0]!r}; --set is for settings")
        run_recipe(target, settings, request)
    else:
        if settings:
            raise UsageError(f"--set {settings[0]}: is for recipes; the arguments of a program go behind --")
        run_program(program, request)


def _program(target: str | None, arguments: list[str], module: str | None) -> Program | None:
    from edgeglass_diag.programs.target import find_module, find_program

    if module is not None:
        return find_module(module, arguments if target is None else [target, *arguments])
    return None if target is None else find_program(target, arguments)


@app.command()
def findings(
    folder: Annotated[Path, typer.Argument(help="Run folder.")], as_json: AsJson = False, fail_on: FailOn = None
) -> None:
    """What was found in a run: code, severity, where, when, evidence, what to do."""
    from edgeglass_diag.store import load
    from edgeglass_diag.verbs.summary import finding_summary

    _check_severity(fail_on)
    with load(folder) as opened:
        found = opened.findings
        if as_json:
            print_json([finding_summary(finding) for finding in found])
        else:
            print_findings(opened, terminal())
    exit_on(found, fail_on)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more run folders.")], as_json: AsJson = False
) -> None:
    """The runs side by side: losses, recalls, findings, first divergence."""
    from edgeglass_diag.store import find_runs, load
    from edgeglass_diag.verbs.compare import compare_runs

    places = [p for folder in folders for p in (find_runs(folder) or [folder])]
    if len(places) < 2:
        raise UsageError(f"compare needs at least two runs, got {len(places)}")
    runs = [load(place) for place in places]
    if as_json:
        print_json(compare_runs(runs))
    else:
        print_comparison(runs, terminal())


@app.command(name="eval")
def evaluate(
    path: Annotated[
        Path, typer.Argument(help="Run folder, checkpoint, or embeddings: npy, npz, safetensors, parquet.")
    ],
    split: Annotated[str | None, typer.Option(help="train, val or test (default), of a run or checkpoint.")] = None,
    dims: Annotated[str | None, typer.Option(help="Prefix widths, e.g. 512,256,64.")] = None,
    curve: Annotated[bool, typer.Option(help="The MRL curve with its controls: five more passes.")] = True,
    device: Annotated[str | None, typer.Option(help="torch device; CUDA by default where there is one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recall@1/5/10 both ways with chance and interval, the MRL curve, and embedding geometry."""
    if not path.exists():
        raise UsageError(f"no such run, checkpoint or file of embeddings: {path}")
    widths = _widths(dims)
    from edgeglass_diag.verbs.evaluate import evaluate as evaluate_path

    result = evaluate_path(path, split=split, dims=widths, with_curve=curve, device=device)
    if as_json:
        print_json(result)
    else:
        from edgeglass_diag.verbs.evaluation_tables import evaluation_tables

        for part in evaluation_tables(result):
            terminal().print(part, highlight=False)


def _widths(dims: str | None) -> list[int]:
    words = [] if dims is None else dims.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise UsageError(f"--dims: expected widths as 512,256,64, got {dims!r}")
    return [int(word) for word in words]


@app.command()
def rules(
    code: Annotated[str | None, typer.Argument(help="One code, e.g. EG301.")] = None, as_json: AsJson = False
) -> None:
    """The rule catalogue, each with its reason, threshold, source and fix."""
    from edgeglass_diag.verbs.catalogue import catalogue, page

    entries = catalogue()
    chosen = [entry for entry in entries if code is None or entry["code"] == code.upper()]
    if not chosen:
        raise UsageError(f"no rule {code!r}: expected one of {', '.join(entry['code'] for entry in entries)}")
    if as_json:
        print_json(chosen)
    elif code is not None:
        print(page(chosen[0]["code"]))
    else:
        from edgeglass_diag.verbs.tables import catalogue_table

        terminal().print(catalogue_table(chosen))


def _rules(select: list[str], ignore: list[str]) -> list[Rule]:
    from edgeglass_diag.rules import CATALOGUE, configure, read_table

    return configure(CATALOGUE, read_table(Path.cwd()), select=select, ignore=ignore)


def _check_severity(fail_on: str | None) -> None:
    if fail_on not in (None, "warning", "critical"):
        raise UsageError(f"--fail-on: expected warning or critical, got {fail_on!r}")


def _check_codes(codes: list[str]) -> None:
    from edgeglass_diag.verbs.catalogue import catalogue

    known = {entry["code"] for entry in catalogue()} if codes else set()
    for code in codes:
        if code not in known:
            raise UsageError(f"--stop-on: no rule {code!r}; see 'edgeglass-diag rules'")
