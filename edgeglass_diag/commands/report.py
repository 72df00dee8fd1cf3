"""The verb ``report``: one HTML file or a notebook about runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.options import AsJson
from edgeglass_diag.commands.output import print_json, terminal
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, is_file, is_folder


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One to six run folders.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; report.html if neither file is named.")] = None,
    notebook: Annotated[Path | None, typer.Option(help="Evaluation notebook (.ipynb) to write.")] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Run the notebook and keep its outputs in it.")] = False,
    split: Annotated[str | None, typer.Option(help="train, val or test (default), of each run.")] = None,
    as_json: AsJson = False,
) -> None:
    """One self-contained HTML file about one to six runs, and/or a notebook of their evaluation."""
    from edgeglass_diag.reporting import make_html, make_notebook, open_runs

    page = out if out is not None or notebook is not None else Path("report.html")
    if page is not None:
        _check_file(page, ".html", option="--out")
    if notebook is not None:
        _check_file(notebook, ".ipynb", option="--notebook")
    runs = open_runs(folders)
    console = terminal(stderr=as_json)
    if page is not None:
        text = make_html(runs, split)
        _write(page, text, option="--out")
        console.print(f"{page}: {len(text.encode()) / 1e6:.1f} MB", highlight=False, markup=False)
    if notebook is not None:
        _write(notebook, make_notebook(runs, split, execute=execute), option="--notebook")
        console.print(f"{notebook}: {'executed' if execute else 'ready to be executed'}", highlight=False, markup=False)
    if as_json:
        written = {"out": page, "notebook": notebook}
        files = {key: None if file is None else str(file) for key, file in written.items()}
        print_json({**files, "runs": [str(run.folder) for run in runs]})


def _check_file(path: Path, suffix: str, *, option: str) -> None:
    """Raise UsageError for another suffix, what is no file, or a folder that is none; called before the work."""
    if path.suffix.lower() != suffix:
        raise UsageError(f"{option} {path}: expected a file that ends in {suffix}")
    if (exists(path) and not is_file(path)) or not is_folder(path.absolute().parent):
        raise UsageError(f"{option} {path}: expected a file in a folder that exists")


def _write(path: Path, text: str, *, option: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}") from error
