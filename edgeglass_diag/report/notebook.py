"""An evaluation notebook: the sections of the report as cells that run from top to bottom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgeglass_diag.extras import extra

_SETUP = """import pandas as pd
import plotly.io

import edgeglass_diag as eg
from edgeglass_diag.comparison import compare_runs
from edgeglass_diag.evaluation.embeddings import numpy_sample
from edgeglass_diag.evaluation.frames import curve_frame, recall_frame
from edgeglass_diag.evaluation.pictures import pictures
from edgeglass_diag.figures.lines import loss_figure
from edgeglass_diag.figures.retrieval import recall_bars
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.render.findings import mark_text, sites_text
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL

plotly.io.renderers.default = "plotly_mimetype"
template = TEMPLATES["light"]
folders = {folders}
split = {split}
runs = {{label: eg.load(folder) for label, folder in folders.items()}}
pd.DataFrame({{label: {{"status": run.status, "last step": run.last_step, **run.header.get("environment", {{}})}}
              for label, run in runs.items()}})"""

_CONFIGURATIONS = """comparison = compare_runs(list(runs.values()))
pd.DataFrame(comparison["differing_settings"], index=list(runs)).T"""

_LOSSES = """for label, run in runs.items():
    if LOSS_TOTAL in run.signals:
        loss = run.frame(LOSS_TOTAL, site="")
        chance = run.frame(LOSS_CHANCE, site="") if LOSS_CHANCE in run.signals else loss.head(0)
        loss_figure(loss, chance, template).update_layout(title=label).show()"""

_EVALUATION = """results, samples = {}, {}
for label, run in runs.items():
    try:
        evaluated = eg.evaluate(run.folder, split=split)
        results[label], samples[label] = dict(evaluated.values), numpy_sample(evaluated.embeddings)
    except eg.UsageError as error:
        print(f"{label}: no embeddings to evaluate ({error})")
recalls = [recall_frame(result).assign(run=label) for label, result in results.items()]
if recalls:
    recall_bars(pd.concat(recalls, ignore_index=True), template).show()
pd.concat(recalls, ignore_index=True) if recalls else None"""

_FINDINGS = """pd.DataFrame([{"run": label, "severity": str(f.severity), "code": f.code, "name": f.name,
               "site": sites_text(f), "step": f.step, "message": f.message, "fix": f.fix, "because of": f.because_of,
               "explained": mark_text(f)}
              for label, run in runs.items() for f in run.findings])"""

_PICTURES = """figures = {label: pictures(result, samples[label], {"light": template})["light"]
           for label, result in results.items()}
for label, drawn in figures.items():
    for name in ("pca", "tsne", "umap", "similarity", "spectrum", "hubness"):
        drawn[name].update_layout(title=f"{label}: {name}", margin_t=80).show()"""

_WIDTHS = """for label, result in results.items():
    figures[label]["mrl"].update_layout(title=label, margin_t=90).show()
pd.concat([curve_frame(result).assign(run=label) for label, result in results.items()]) if results else None"""

_CELLS: Sequence[tuple[str, str]] = (
    ("## Setup", _SETUP),
    (
        "## Configurations\n\nThe settings that differ; a single run, or programs without settings, have none.",
        _CONFIGURATIONS,
    ),
    ("## Quantitative comparison\n\nLoss by step, dashed the loss of a model that tells nothing apart.", _LOSSES),
    ("Recalls with 95 % intervals; ticks are chance.", _EVALUATION),
    ("## Failure analysis", _FINDINGS),
    ("Where the embeddings lie. t-SNE and UMAP keep neighbourhoods and not distances.", _PICTURES),
    ("## MRL verification\n\nRecall against width, with other ways to save the same storage.", _WIDTHS),
)


def notebook(folders: Sequence[tuple[str, Path]], split: str | None, *, execute: bool = False) -> str:
    """The notebook as JSON.

    Args:
        folders: label and folder of each run.
        split: of each run; test where None.
        execute: run it here and keep its outputs.

    Raises:
        UsageError: when it is to be executed and what that needs is not installed.
    """
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    places = {label: str(folder.absolute()) for label, folder in folders}
    cells = [new_markdown_cell("# Alignment evaluation\n\nMade by `edgeglass-diag report --notebook`.")]
    for words, code in _CELLS:
        source = code.format(folders=json.dumps(places, indent=4), split=repr(split)) if code is _SETUP else code
        cells += [new_markdown_cell(words), new_code_cell(source)]
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"  # the same file each time
    made = new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    if execute:
        _execute(made)
    return str(nbformat.writes(made)) + "\n"


def _execute(made: object) -> None:
    with extra("notebook", "--execute"):
        import ipykernel  # noqa: F401  the kernel that runs it
        from nbclient import NotebookClient
    NotebookClient(made, timeout=600).execute()
