"""The notebook of the verb ``report``."""

from __future__ import annotations

from collections.abc import Sequence

from edgeglass_diag.records import UsageError
from edgeglass_diag.report.notebook import notebook
from edgeglass_diag.store import Run
from edgeglass_diag.verbs.report import labelled


def make_notebook(runs: Sequence[Run], split: str | None, *, execute: bool) -> str:
    """The notebook as JSON.

    Raises:
        UsageError: when it is to be executed and nothing can.
    """
    try:
        return notebook([(label, run.folder) for run, label in labelled(runs)], split, execute=execute)
    except ValueError as error:
        raise UsageError(str(error)) from error
