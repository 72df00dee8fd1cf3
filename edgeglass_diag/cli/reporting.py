"""Verbs that write something to be handed on: ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.cli.app import app
from edgeglass_diag.verbs.printing import terminal


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One to six run folders.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; report.html if neither file is named.")] = None,
    notebook: Annotated[Path | None, typer.Option(help="Evaluation notebook (.ipynb) to write.")] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Run the notebook and keep its outputs in it.")] = False,
    split: Annotated[str | None, typer.Option(help="train, val or test (default), of each run.")] = None,
) -> None:
    """One self-contained HTML file about one to six runs, and/or a notebook of their evaluation."""
    from edgeglass_diag.verbs.report import check_target, make_html, open_runs, write

    page = out if out is not None or notebook is not None else Path("report.html")
    if page is not None:
        check_target(page, ".html", option="--out")
    if notebook is not None:
        check_target(notebook, ".ipynb", option="--notebook")
    runs = open_runs(folders)
    console = terminal()
    if page is not None:
        text = make_html(runs, split)
        write(page, text, option="--out")
        console.print(f"{page}: {len(text.encode()) / 1e6:.1f} MB", highlight=False, markup=False)
    if notebook is not None:
        from edgeglass_diag.verbs.notebook import make_notebook

        write(notebook, make_notebook(runs, split, execute=execute), option="--notebook")
        console.print(f"{notebook}: {'executed' if execute else 'ready to be executed'}", highlight=False, markup=False)
