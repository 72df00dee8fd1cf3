"""Verbs that read what is there: ``findings``, ``compare``, ``eval``, ``attribute``, ``rules``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeglass_diag.cli.app import AsJson, FailOn, app, check_severity
from edgeglass_diag.records import UsageError
from edgeglass_diag.verbs.printing import exit_on, print_comparison, print_findings, print_json, terminal

if TYPE_CHECKING:
    from edgeglass_diag.verbs.pictures import Pictures


@app.command()
def findings(
    folder: Annotated[Path, typer.Argument(help="Run folder.")], as_json: AsJson = False, fail_on: FailOn = None
) -> None:
    """What was found in a run: code, severity, where, when, evidence, what to do."""
    from edgeglass_diag.store import load
    from edgeglass_diag.verbs.summary import finding_summary

    check_severity(fail_on)
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
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test (default), all (default with --data): of a run or checkpoint."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Other pictures and captions for a run or checkpoint, as data.path takes them.")
    ] = None,
    settings: Annotated[list[str], typer.Option("--set", help="data.key=value, e.g. data.on_error=skip.")] = [],  # noqa: B006
    dims: Annotated[str | None, typer.Option(help="Prefix widths, e.g. 512,256,64.")] = None,
    curve: Annotated[bool, typer.Option(help="The MRL curve with its controls: five more passes.")] = True,
    device: Annotated[str | None, typer.Option(help="torch device; CUDA by default where there is one.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder to write pictures of it to.")] = None,
    form: Annotated[str, typer.Option("--format", help="Of the pictures: html, png or svg.")] = "html",
    theme: Annotated[str, typer.Option(help="Of the pictures: light or dark.")] = "light",
    as_json: AsJson = False,
) -> None:
    """Recall@1/5/10 both ways with chance and interval, the MRL curve, and embedding geometry."""
    if not path.exists():
        raise UsageError(f"no such run, checkpoint or file of embeddings: {path}")
    widths = _widths(dims)
    wanted = _pictures(figures, form, theme)
    from edgeglass_diag.verbs.evaluate import evaluate as evaluate_path

    result, embeddings = evaluate_path(
        path, split=split, data=data, settings=settings, dims=widths, with_curve=curve, device=device
    )
    if as_json:
        print_json(result)
    else:
        from edgeglass_diag.verbs.evaluation_tables import evaluation_tables

        for part in evaluation_tables(result):
            terminal().print(part, highlight=False)
    if wanted is not None:  # after the numbers, so that these are there whatever becomes of the pictures
        from edgeglass_diag.verbs.pictures import draw

        written = draw(result, embeddings, wanted)
        terminal(stderr=True).print(f"{len(written)} figures in {wanted.folder}", highlight=False, markup=False)


def _pictures(folder: Path | None, form: str, theme: str) -> Pictures | None:
    if folder is None:
        if (form, theme) != ("html", "light"):
            raise UsageError("--format and --theme are for the pictures of --figures DIR, which was not given")
        return None
    from edgeglass_diag.verbs.pictures import Pictures

    return Pictures(folder, form, theme)


def _widths(dims: str | None) -> list[int]:
    words = [] if dims is None else dims.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise UsageError(f"--dims: expected widths as 512,256,64, got {dims!r}")
    return [int(word) for word in words]


@app.command()
def attribute(
    path: Annotated[Path, typer.Argument(help="Run folder or checkpoint of a recipe.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    pairs: Annotated[int, typer.Option(min=1, help="Pairs that are attributed.")] = 8,
    sample: Annotated[int, typer.Option(min=2, help="Pairs of the information test.")] = 256,
    steps: Annotated[int, typer.Option(min=1, help="Points of the integral of the gradients.")] = 64,
    out: Annotated[Path | None, typer.Option(help="New folder for heatmaps (PNG) and attribution.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which patches, latents and words carry a pair's similarity, and whether the score tells pictures apart at all."""
    if not path.exists():
        raise UsageError(f"no such run or checkpoint: {path}")
    from edgeglass_diag.verbs.attribute import attribute_run

    result = attribute_run(path, split=split, pairs=pairs, sample=sample, steps=steps, out=out)
    if as_json:
        print_json(result)
    else:
        from edgeglass_diag.verbs.attribution_tables import attribution_tables

        for part in attribution_tables(result):
            terminal().print(part, highlight=False)


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
