"""What a plan does in a process of its replay: guard, seeds, interventions. No torch before the program imports it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.process import error_text
from edgeglass_diag.replaying.guard import Guard
from edgeglass_diag.replaying.mirror import of_scratch
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.seeds import seed_python, seed_torch, shift_python

if TYPE_CHECKING:
    from edgeglass_diag.replaying.interventions.means import Means

_GUARDS: dict[str, Guard] = {}
"""Plan as text -> guard of this process, which once begun cannot be taken away."""


class ReplayFailedError(BaseException):
    """Raised in the program where its plan cannot be carried out: it must not run on without it."""


def begin(text: str) -> str:
    """Guard and seed the main process of a replay before its program runs; return the name of the guard.

    Args:
        text: the plan as ``Plan.as_text`` wrote it.
    """
    plan = Plan.parse(text)
    guard = _GUARDS[text] = _guard_of(plan)
    name = guard.restrict()
    guard.begin()
    seed_python(plan.seed)
    return name


def attach(text: str) -> Callable[[], Mapping[str, object]]:
    """Carry out a plan in a process that has just imported torch; return what gives its entries of the result.

    ``applied``: how often each intervention was made, by its label. ``places``: file and line where the program sets
    what is changed, by label, of those for which that is known. ``refused``: paths that it may not write.

    Raises:
        ReplayFailedError: if it cannot be carried out.
    """
    from edgeglass_diag.replaying.entry_points import guard_writers

    try:
        plan = Plan.parse(text)
        guard = _GUARDS.get(text)
        if guard is None:  # a process that the program started
            guard = _GUARDS[text] = _guard_of(plan)
            guard.begin()
            shift_python(plan.seed)
        seed_torch(plan.seed)
        guard_writers(guard)
        made = _attach_all(plan)
    except Exception as error:
        raise ReplayFailedError(f"the replay could not begin: {error_text(error)}") from error
    return lambda: {**_told(made), "refused": list(dict.fromkeys(guard.refused))}


def _attach_all(plan: Plan) -> Sequence[Means]:
    """Put the interventions in place."""
    if not plan.interventions:
        return ()
    interventions: Any = importlib.import_module("edgeglass_diag.replaying.interventions")
    made: Sequence[Means] = interventions.attach_all(plan.interventions)
    return made


def _told(made: Sequence[Means]) -> Mapping[str, object]:
    return {
        "applied": {each.wanted.label: each.applied for each in made},
        "places": {each.wanted.label: str(each.place) for each in made if each.place is not None},
    }


def _guard_of(plan: Plan) -> Guard:
    places = (plan.scratch, plan.out, os.environ["TMPDIR"])
    patterns = [str(Path(plan.folder) / pattern) for pattern in plan.writable]
    return Guard(of_scratch(plan.scratch, plan.absent), [str(Path(place).resolve()) for place in places], patterns)
