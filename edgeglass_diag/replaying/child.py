"""The process of a replay: the program, watched, guarded and stopped; started by ``guardian`` alone."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from edgeglass_diag.process import git
from edgeglass_diag.programs.launch import exit_argument
from edgeglass_diag.programs.options import Extension, ProcessOptions, WatchOptions
from edgeglass_diag.programs.run_program import run_program
from edgeglass_diag.programs.targets import Program
from edgeglass_diag.replaying import in_process
from edgeglass_diag.replaying.death import die_with_parent
from edgeglass_diag.replaying.guard import refusal_in
from edgeglass_diag.replaying.mirror import Mirror, of_scratch
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.replayed import REFUSAL
from edgeglass_diag.replaying.surroundings import in_mirror
from edgeglass_diag.rules.choice import choose_rules


def main(file: str) -> None:
    """Run the program of the plan in a file; exit as the program did."""
    die_with_parent()
    text = Path(file).read_text()
    plan = Plan.parse(text)
    mirror = of_scratch(plan.scratch, plan.absent)
    os.chdir(plan.folder)
    header = _header(plan)
    out = Path(plan.out)
    out.mkdir(parents=True, exist_ok=True)
    place = mirror.at(plan.folder)
    os.chdir(place)
    os.environ["PWD"] = place
    guard = in_process.begin(text)
    header["replay_of"] = {**_plan_facts(plan), "guard": guard, "mirror": mirror.root}
    extension = Extension(in_process.__name__, text, header)
    watched = ProcessOptions.of(WatchOptions(plan.every, choose_rules(None), samples=False), out, announce=False)
    outcome = run_program(_program(plan, mirror), replace(watched, extension=extension, steps=plan.steps))
    if outcome.run is not None:
        outcome.run.close()
    if (refusal := refusal_in(outcome.error)) is not None:
        (Path(plan.scratch) / REFUSAL).write_text(str(refusal))
    raise SystemExit(exit_argument(outcome.error))


def _program(plan: Plan, mirror: Mirror) -> Program:
    target = plan.target if plan.kind == "module" else in_mirror(plan.target, plan.folder, mirror)
    relative = plan.kind != "module" and not os.path.isabs(plan.target)
    return Program(plan.kind, plan.target if relative else target, plan.arguments)


def _header(plan: Plan) -> dict[str, object]:
    """Return what ``run.json`` says of the program, as of an ordinary run of it; the mirror is no repository."""
    told = Program(plan.kind, plan.target, plan.arguments)
    command = [plan.target, *plan.arguments]
    return {
        "replay": plan.label, "program": told.facts, "git": git(), "command": command, "folder": plan.folder
    }  # fmt: skip


def _plan_facts(plan: Plan) -> dict[str, object]:
    """Return what was done to the program. The seed is its own at the start, and is added to those that it sets."""
    changes = [{"name": each.name, "value": each.value, "site": each.site} for each in plan.interventions]
    return {
        "interventions": changes,
        "seed": plan.seed,
        "steps": plan.steps,
        "environment": dict(plan.environment),
        "folder": plan.folder,
    }


if __name__ == "__main__":
    main(sys.argv[1])
