"""The command to try next, as it can be pasted into a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeglass_diag.explanation.recipe_trials import is_of_recipe
from edgeglass_diag.explanation.subjects import Subject
from edgeglass_diag.marks import Mark
from edgeglass_diag.records import Finding, RunStatus, Severity, UsageError

if TYPE_CHECKING:
    from edgeglass_diag.explained.record import KeptExplanation
    from edgeglass_diag.store import Run


_LONGER = 10
"""How many times as many steps are asked for where too few were taken to tell."""


@dataclass(frozen=True, slots=True)
class NextCommand:
    """What to do next.

    Attributes:
        why: in words.
        command: for a shell.
    """

    why: str
    command: str


def shell(*words: object) -> str:
    """Return a command of this tool for a shell.

    >>> shell("findings", "runs/my run")
    "edgeglass-diag findings 'runs/my run'"
    """
    return shlex.join(["edgeglass-diag", *map(str, words)])


def next_command(
    run: Run, headline: Finding | None, kept: KeptExplanation | None, *, tone: str, cut_short: bool
) -> NextCommand:
    """Return what to do next about a run.

    Args:
        run: the record.
        headline: the finding that comes first, None without one.
        kept: the run's newest explanation, None without one.
        tone: of the verdict.
        cut_short: whether the training was stopped after a number of steps that was asked for.
    """
    folder = run.folder
    if run.status is RunStatus.RUNNING:
        return NextCommand("the training goes on; ask again later", shell("diagnose", folder))
    if not run.windows:
        return _without_steps(run)
    if headline is None:
        return _without_headline(run, kept, tone=tone, cut_short=cut_short)
    if headline.mark is Mark.CONFIRMED:
        why = f"make the change ({headline.mark_by}), and train again"
        again = _again(run, run.record.taken if cut_short else None)
        return NextCommand(f"{why}; what the rule says", _rule(headline)) if again is None else NextCommand(why, again)
    if headline.early_until is not None and cut_short and (again := _again(run, headline.early_until)) is not None:
        return NextCommand(f"the verdict is early until step {headline.early_until}: train for longer", again)
    return _prove(run, headline, kept)


def _without_headline(run: Run, kept: KeptExplanation | None, *, tone: str, cut_short: bool) -> NextCommand:
    """Return what to do where no finding asks for anything."""
    again = _again(run)
    if again is not None and run.status is RunStatus.FAILED:
        return NextCommand("mend the error that ended the program, and train again", again)
    longer = _again(run, _LONGER * run.record.taken)
    if longer is not None and cut_short and tone != "good":
        return NextCommand("too few steps to tell: train for longer", longer)
    if tone in ("good", "neutral"):
        return NextCommand("nothing is to be mended; the whole of it as a page", shell("report", run.folder))
    return _prove(run, None, kept)


def _prove(run: Run, headline: Finding | None, kept: KeptExplanation | None) -> NextCommand:
    """Return the command that proves or refutes what is guessed; where there is none, what the rule says."""
    if not _is_replayable(run):
        if headline is None:
            return NextCommand("no rule tells why; what was recorded, as a page", shell("report", run.folder))
        return NextCommand(f"what {headline.code} means and what mends it, step by step", _rule(headline))
    if kept is None:
        return NextCommand("prove or refute it by short replays of the program", shell("explain", run.folder))
    if kept.steps is not None:
        why = f"replays of {kept.steps} steps have not shown the cause; longer ones may"
        return NextCommand(why, shell("explain", run.folder, "--steps", 2 * kept.steps))
    why = "the replays have not shown the cause; more seeds may"
    return NextCommand(why, shell("explain", run.folder, "--seeds", 5))


def _without_steps(run: Run) -> NextCommand:
    program = _program(run.header)
    if program is None:
        return NextCommand("no step was recorded; what was seen of the model", shell("findings", run.folder))
    words = ["check", *program]
    return NextCommand("no optimizer step was seen; look at the model before its first step", _placed(run, words))


def _again(run: Run, steps: int | None = None) -> str | None:
    """Return the command that trains again under watch; None where the command of the run is not known."""
    program = _program(run.header)
    limit = [] if steps is None else ["--steps", str(steps)]
    return None if program is None else _placed(run, ["diagnose", *limit, *program])


def _placed(run: Run, words: Sequence[str]) -> str:
    place = str(run.header.get("folder") or "")
    moved = bool(place) and os.path.realpath(place) != os.path.realpath(os.curdir)
    return f"cd {shlex.quote(place)} && {shell(*words)}" if moved else shell(*words)


def _program(header: Mapping[str, Any]) -> list[str] | None:
    """Return the words with which the program of a run is named on the command line; None where it is not known."""
    facts = header.get("program")
    if not isinstance(facts, Mapping):
        return None
    named = ["-m", str(facts["target"])] if facts.get("kind") == "module" else [str(facts["target"])]
    arguments = [str(each) for each in facts.get("arguments", ())]
    return [*named, "--", *arguments] if arguments else named


def _is_replayable(run: Run) -> bool:
    if is_of_recipe(run.header):
        return True
    try:
        Subject.of_run(run.folder)
    except UsageError:
        return False
    return True


def _rule(finding: Finding) -> str:
    return shell("rules", finding.code)


def needs_action(finding: Finding) -> bool:
    """Return whether a finding is more than a fact worth knowing."""
    return finding.severity is not Severity.INFO
