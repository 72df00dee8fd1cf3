"""Keep an explanation in its folder, and its marks beside the run that it explains."""

from __future__ import annotations

import json
from pathlib import Path

from edgeglass_diag.explained.record import EXPLANATION
from edgeglass_diag.explanation.report import ExplainReport
from edgeglass_diag.marks import Mark, read_marks, write_marks
from edgeglass_diag.process import say
from edgeglass_diag.records import UsageError


def keep(report: ExplainReport, out: Path, run: Path | None) -> None:
    """Write ``OUT/explain.json``, and ``explained.json`` beside the run; where that cannot be written, say so.

    A finding that was not asked about keeps the mark of an earlier explanation.

    Args:
        report: the explanation.
        out: its folder.
        run: folder of the explained run; None where there is none.
    """
    (out / EXPLANATION).write_text(json.dumps(report.as_dict(), indent=1), encoding="utf-8")
    if run is not None:
        known = read_marks(run)
        news = {(each.code, each.site): each for each in report.marks}
        kept = {key: each for key, each in known.items() if key not in news or news[key].mark is Mark.NOT_ASKED}
        try:
            write_marks(run, (news | kept).values(), str(out))
        except UsageError as error:  # the answer is there all the same
            say(str(error))
