"""Make a report of runs: evaluate them, compare them, and return one HTML page or a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgeglass_diag.records import UsageError
from edgeglass_diag.report.report_run import Evaluation, Subject
from edgeglass_diag.store import Run, find_runs, load

MOST = 6
"""Most runs in one report, which has a column for each."""


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs in the given folders, at most six.

    Raises:
        UsageError: if a folder holds no run, or there are more than six.
    """
    places = list(dict.fromkeys(place for folder in folders for place in (find_runs(folder) or [folder])))
    if len(places) > MOST:
        raise UsageError(f"report: expected at most {MOST} runs, got {len(places)}")
    return [load(place) for place in places]


def make_html(runs: Sequence[Run], split: str | None) -> str:
    """Return the report as HTML."""
    from edgeglass_diag.comparison import compare_runs
    from edgeglass_diag.report.html import report_html

    return report_html([_subject(run, label, split) for run, label in labelled(runs)], compare_runs(runs))


def make_notebook(runs: Sequence[Run], split: str | None, *, execute: bool) -> str:
    """Return the evaluation notebook as JSON.

    Raises:
        UsageError: if it is to be executed and what that needs is not installed.
    """
    from edgeglass_diag.report.notebook import notebook

    return notebook([(label, run.folder) for run, label in labelled(runs)], split, execute=execute)


def labelled(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Return runs with their names, and with their folders where names are equal."""
    counts = Counter(run.name for run in runs)
    return [(run, run.name if counts[run.name] == 1 else f"{run.name} ({run.folder})") for run in runs]


def _subject(run: Run, label: str, split: str | None) -> Subject:
    """Return a run with its evaluation, or with the reason why it has none."""
    if "program" in run.header or not (run.folder / "checkpoints").is_dir():
        return Subject(run, label, missing="no checkpoint of a recipe in its folder")
    from edgeglass_diag.evaluation.embeddings import numpy_sample
    from edgeglass_diag.evaluation.evaluate import evaluate

    try:
        evaluated = evaluate(run.folder, split=split)
    except UsageError as error:
        return Subject(run, label, missing=str(error))
    return Subject(run, label, Evaluation(evaluated.values, numpy_sample(evaluated.embeddings)))
