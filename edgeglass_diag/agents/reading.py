"""The tools that read: each returns plain values, which ``server`` bounds. No torch."""

from __future__ import annotations

import fnmatch
import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from edgeglass_diag.diagnosis.diagnose import diagnose as diagnose_run
from edgeglass_diag.folders import find_unreadable
from edgeglass_diag.plain_values import finding_summary
from edgeglass_diag.programs.targets import Program, resolve
from edgeglass_diag.records import Finding, Severity, UsageError
from edgeglass_diag.run_verdict import run_verdict
from edgeglass_diag.store import Matrix, Run, find_runs, load
from edgeglass_diag.store.matrix import Component

RunFolder = Annotated[str, Field(description="Folder of a run, as runs/train-20260101-120000.")]
First = Annotated[int, Field(description="Entries that are passed over: the answer shows the next ones.", ge=0)]
_MOST_RUNS, _MOST_FINDINGS, _MOST_ROWS, _MOST_COLUMNS = 20, 40, 30, 24


def diagnose(run: RunFolder) -> str:
    """What is wrong with a training, in at most 60 lines; begin here.

    The verdict, the headline finding with its evidence and what mends it, what replays have proved and what is only
    guessed, what nobody looked at, and the next command to try. The training may still be running.
    """
    if isinstance(resolve([run]), Program):
        raise UsageError(
            f"{run} is a program, and nothing is trained here: run 'edgeglass-diag diagnose {run}' in a shell, which "
            "trains it under watch, and name the run folder"
        )
    return diagnose_run(run).as_text()


def runs(
    folder: Annotated[str, Field(description="Folder in which runs are looked for.")] = "runs", first: First = 0
) -> dict[str, Any]:
    """The runs in a folder, the newest first: how each stands, its verdict, and findings by severity."""
    found = find_runs(Path(folder))
    shown = [_run_row(place) for place in found[::-1][first : first + _MOST_RUNS]]
    unreadable = list(find_unreadable(Path(folder), found).values())
    return {"count": len(found), "first": first, "runs": shown, "unreadable": unreadable}


def findings(
    run: RunFolder,
    severity: Annotated[str, Field(description="Least severity: info, warning or critical.")] = "info",
    code: Annotated[str, Field(description="Code of a rule or its beginning, as EG2.")] = "",
    first: First = 0,
) -> dict[str, Any]:
    """What was found in a run, in short: the worst first, causes before what follows from them."""
    if severity not in list(Severity):
        raise UsageError(f"severity: expected {', '.join(Severity)}, got {severity!r}")
    least = Severity(severity).rank
    with load(run) as opened:
        found = [each for each in opened.findings if each.severity.rank >= least and each.code.startswith(code)]
    rows = [_finding_row(each) for each in found[first : first + _MOST_FINDINGS]]
    return {"count": len(found), "first": first, "findings": rows, "in_full": "tool finding"}


def finding(
    run: RunFolder,
    code: Annotated[str, Field(description="Code of the finding, as EG202.")],
    site: Annotated[str, Field(description="Where it was made; the first with this code if empty.")] = "",
) -> dict[str, Any]:
    """One finding in full: message, evidence, sites, what mends it, what replays have shown, and its rule."""
    from edgeglass_diag.catalogue import catalogue, page

    with load(run) as opened:
        found = [each for each in opened.findings if each.code == code]
    at = [each for each in found if not site or site in (each.site, *each.sites)]
    if not at:
        known = ", ".join(dict.fromkeys(each.site or "the whole model" for each in found))
        raise UsageError(f"{run} has no finding {code}{f' at {site}; it has it at {known}' if known else ''}")
    is_known = any(entry["code"] == code for entry in catalogue())
    others = [each.site for each in found if each is not at[0]]
    return {**finding_summary(at[0]), "also_at": others, "rule": page(code) if is_known else None}


def signals(
    run: RunFolder,
    signal: Annotated[str, Field(description="Path of a signal, as attention/entropy; all paths if empty.")] = "",
    site: Annotated[str, Field(description="Sites that are shown, with * and ?.")] = "*",
    first: First = 0,
    columns: Annotated[int, Field(description="Most columns of steps.", ge=1, le=_MOST_COLUMNS)] = 12,
    component: Annotated[Component, Field(description="Of the heads of a step: mean, min, max, or a number.")] = "mean",
) -> dict[str, Any]:
    """The signals that a run has recorded, or one of them as a table of sites and steps.

    A cell has the lowest and the highest value of its steps, as 0.2..0.9; no extreme and no NaN is lost.
    """
    with load(run) as opened:
        if not signal:
            described = {str(each): each.sentence for each in opened.signals}
            return {"count": len(described), "signals": described}
        matrix = opened.matrix(signal, bins=columns, component=component)
    rows = [row for row, name in enumerate(matrix.sites) if fnmatch.fnmatchcase(name, site)]
    shown = rows[first : first + _MOST_ROWS]
    table = {matrix.sites[row]: [_cell(matrix, row, column) for column in range(len(matrix.edges))] for row in shown}
    about = {"signal": signal, "component": component, "sites": len(matrix.sites), "chosen": len(rows), "first": first}
    return {**about, "first_step_of_column": matrix.edges, "last_step": matrix.last_step, "table": table}


def compare(runs: Annotated[list[str], Field(description="Two or more run folders.", min_length=2)]) -> dict[str, Any]:
    """Runs side by side: losses, recalls, findings by code, differing settings, the step at which losses part."""
    from edgeglass_diag.comparison import compare_runs

    with ExitStack() as opened:
        compared = compare_runs([opened.enter_context(load(run)) for run in runs])
    for row in compared["runs"]:
        row["findings"] = dict(Counter(each["code"] for each in row["findings"]))
    return compared


def audit(
    files: Annotated[list[str], Field(description="Logs: CSV, JSON, text, TensorBoard, W&B offline, MLflow, runs.")],
    batch_size: Annotated[int | None, Field(description="Of the losses, where the logs have none.", ge=2)] = None,
    against: Annotated[str | None, Field(description="Log of a healthy training to compare with.")] = None,
    columns: Annotated[Sequence[str], Field(description="ROLE=NAME for columns that are not understood.")] = (),
) -> dict[str, Any]:
    """Logged numbers alone: which cannot be true together, and what they imply."""
    from edgeglass_diag.auditing.report import audit as audit_files

    return audit_files(files, columns=columns, batch_size=batch_size, against=against).as_dict()


def rules(
    code: Annotated[str, Field(description="One code for its whole page, its beginning for those rules.")] = "",
) -> dict[str, Any] | str:
    """The rules, or one in full: what, why, formula, thresholds, source, fix."""
    from edgeglass_diag.catalogue import catalogue, page
    from edgeglass_diag.rules import current_code

    entries = catalogue()
    wanted = current_code(code.upper()) if code else ""
    if any(entry["code"] == wanted for entry in entries):
        return page(wanted)
    chosen = [entry for entry in entries if entry["code"].startswith(code.upper())]
    if not chosen:
        raise UsageError(f"no rule {code!r}: expected a code as EG301, or the beginning of one")
    return {"count": len(chosen), "rules": {each["code"]: f"{each['severity']}: {each['summary']}" for each in chosen}}


def _run_row(folder: Path) -> dict[str, Any]:
    try:
        with load(folder) as run:
            return _told(run)
    except UsageError as error:
        return {"run": str(folder), "problem": str(error)}


def _told(run: Run) -> dict[str, Any]:
    found = run.findings
    counted = Counter(str(each.severity) for each in found)
    verdict = run_verdict(run, found).text
    return {
        "run": str(run.folder),
        "status": str(run.status),
        "steps": run.record.taken,
        "verdict": verdict,
        "findings": dict(counted),
    }


def _finding_row(each: Finding) -> dict[str, Any]:
    row = {"code": each.code, "name": each.name, "severity": str(each.severity), "site": each.site, "step": each.step}
    mark = {} if each.mark is None else {"mark": str(each.mark)}
    because = {} if each.because_of is None else {"because_of": each.because_of}
    return row | {"message": each.message} | because | mark


def _cell(matrix: Matrix, row: int, column: int) -> str:
    if not matrix.count[row, column]:
        return "-"
    low, high = (float(bound[row, column]) for bound in (matrix.low, matrix.high))
    nans = int(matrix.nans[row, column])
    if math.isnan(low):
        return f"{nans} nan"
    numbers = f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"
    return f"{numbers}, {nans} nan" if nans else numbers
