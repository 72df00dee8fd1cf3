"""The verb ``eval``: retrieval and geometry of a run, a checkpoint or embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeglass_diag.commands.gate import Gate
from edgeglass_diag.commands.options import AsJson, BaselineFile, FailOn, SarifFile, UpdateBaseline
from edgeglass_diag.commands.output import print_json, print_parts, terminal
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, nothing_at

if TYPE_CHECKING:
    from edgeglass_diag.evaluation.picture_files import PictureFiles


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
    fail_on: FailOn = None,
    sarif: SarifFile = None,
    baseline: BaselineFile = None,
    update: UpdateBaseline = False,
    as_json: AsJson = False,
) -> None:
    """Recall@1/5/10 both ways with chance and interval, the MRL curve, and embedding geometry."""
    gate = Gate.of(fail_on, sarif, baseline, update)
    if not exists(path):
        raise nothing_at(path, "run, checkpoint or file of embeddings")
    widths = _widths(dims)
    wanted = _picture_files(figures, form, theme)
    from edgeglass_diag.evaluation.evaluate import evaluate as evaluate_path
    from edgeglass_diag.gate.results import Judged
    from edgeglass_diag.judged_evaluation import evaluation_findings

    report = evaluate_path(
        path, split=split, data=data, settings=settings, dims=widths, with_curve=curve, device=device
    )
    found = evaluation_findings(report.values)
    if as_json:
        from edgeglass_diag.plain_values import finding_summary

        print_json({**report.as_dict(), "findings": [finding_summary(finding) for finding in found]})
    else:
        from edgeglass_diag.commands.render.evaluation import evaluation_tables
        from edgeglass_diag.commands.render.findings import nested_text

        print_parts(evaluation_tables(dict(report.values)))
        print_parts(nested_text(found))
    if wanted is not None:  # after the numbers, which must not depend on the pictures
        from edgeglass_diag.evaluation.picture_files import write_pictures

        written = write_pictures(dict(report.values), report.embeddings, wanted)
        terminal(stderr=True).print(f"{len(written)} figures in {wanted.folder}", highlight=False, markup=False)
    gate.end([Judged(found, file=path)])


def _picture_files(folder: Path | None, form: str, theme: str) -> PictureFiles | None:
    if folder is None:
        if (form, theme) != ("html", "light"):
            raise UsageError("--format and --theme are for the pictures of --figures DIR, which was not given")
        return None
    from edgeglass_diag.extras import check_extra

    check_extra("evaluate", "--figures")
    from edgeglass_diag.evaluation.picture_files import PictureFiles

    return PictureFiles(folder, form, theme)


def _widths(dims: str | None) -> list[int]:
    words = [] if dims is None else dims.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise UsageError(f"--dims: expected widths as 512,256,64, got {dims!r}")
    return [int(word) for word in words]
