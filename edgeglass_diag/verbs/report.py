"""The verb ``report``: what is known of runs, as one HTML file or as a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgeglass_diag.records import UsageError
from edgeglass_diag.report.report_run import Evaluation, Subject
from edgeglass_diag.store import Run, find_runs, load

MOST = 6
"""Runs in one report: more columns than these nobody compares."""


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in the given folders, at most six.

    Raises:
        UsageError: for a folder without a run, and for more than six runs.
    """
    places = list(dict.fromkeys(place for folder in folders for place in (find_runs(folder) or [folder])))
    if len(places) > MOST:
        raise UsageError(f"report: expected at most {MOST} runs, got {len(places)}")
    return [load(place) for place in places]


def check_target(path: Path, suffix: str, *, option: str) -> None:
    """See before the work that a file can be written.

    Raises:
        UsageError: for another suffix, a folder, or a place that is not there.
    """
    if path.suffix.lower() != suffix:
        raise UsageError(f"{option} {path}: expected a file that ends in {suffix}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {path}: expected a file in a folder that exists")


def write(path: Path, text: str, *, option: str) -> None:
    """Write a file.

    Raises:
        UsageError: when it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}") from error


def make_html(runs: Sequence[Run], split: str | None) -> str:
    """The report as HTML."""
    from edgeglass_diag.report.html import report_html
    from edgeglass_diag.verbs.compare import compare_runs

    return report_html([_subject(run, label, split) for run, label in labelled(runs)], compare_runs(runs))


def labelled(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Runs with their names, those that share one with their folders."""
    counts = Counter(run.name for run in runs)
    return [(run, run.name if counts[run.name] == 1 else f"{run.name} ({run.folder})") for run in runs]


def _subject(run: Run, label: str, split: str | None) -> Subject:
    """A run with its evaluation, or the reason why it has none. What cannot be evaluated stays in the report."""
    if "program" in run.header or not (run.folder / "checkpoints").is_dir():
        return Subject(run, label, missing="no checkpoint of a recipe in its folder")
    from edgeglass_diag.verbs.evaluate import evaluate
    from edgeglass_diag.verbs.pictures import numpy_sample

    try:
        result, embeddings = evaluate(run.folder, split=split)
    except UsageError as error:
        return Subject(run, label, missing=str(error))
    return Subject(run, label, Evaluation(result, numpy_sample(embeddings)))
