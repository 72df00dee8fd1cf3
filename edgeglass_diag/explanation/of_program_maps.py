"""Map how the training of a program goes over a grid of its arguments, variables, and changes from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeglass_diag.explained.phase_map import KeptMap
from edgeglass_diag.explanation.axes import Axis, Cell, cells_of, label_of
from edgeglass_diag.explanation.mapping import CELL, phase_map, run_cells
from edgeglass_diag.explanation.program_trials import ProgramRunner, ProgramTrial, over_seeds
from edgeglass_diag.explanation.subjects import Subject
from edgeglass_diag.intervention import KINDS, Intervention
from edgeglass_diag.records import UsageError
from edgeglass_diag.replaying.arguments import Option, options_of, with_options
from edgeglass_diag.replaying.plan import Plan


def check_axes(axes: Sequence[Axis], subject: Subject) -> None:
    """Check that the axes are ones of a program: options, variables, or interventions with values that they take.

    Raises:
        UsageError: for another.
    """
    for axis in axes:
        for value in axis.values:
            _changed(_bare(subject.program.arguments), axis.name, value)


def map_program(plan: Plan, axes: Sequence[Axis], *, seeds: Sequence[int], runner: ProgramRunner) -> KeptMap:
    """Return the map of a program.

    Args:
        plan: replays it unchanged.
        axes: checked ones.
        seeds: of each cell.
        runner: runs the replays; one that fails makes a cell that crashed.
    """
    trials = {cell: over_seeds(ProgramTrial(_cell_plan(plan, axes, cell), CELL), seeds) for cell in cells_of(axes)}
    return phase_map(axes, run_cells(trials, runner))


def _cell_plan(plan: Plan, axes: Sequence[Axis], cell: Cell) -> Plan:
    made = plan
    for axis, value in zip(axes, cell, strict=True):
        made = _changed(made, axis.name, value)
    return replace(made, title=label_of(axes, cell))


def _changed(plan: Plan, name: str, value: str) -> Plan:
    """Return a plan in which one setting has a value.

    A name is that of an option (``--lr``), of a variable (``$NAME``), of an override that the command line has, or of
    an intervention with its site.
    """
    if name.startswith("$"):
        return replace(plan, environment={**plan.environment, name[1:]: value})
    known = {option.name: option for option in options_of(plan.arguments)}
    if name.startswith("-") or name in known:
        option = _option(name, value, known.get(name))
        return replace(plan, arguments=with_options(plan.arguments, {name: option}))
    kind, at, site = name.partition("@")
    if kind not in KINDS:
        raise UsageError(
            f"--map {name}: expected an option (--lr), a variable ($NAME), a word of the command line (optimizer.lr=…) "
            "or an intervention (initial.std@latents)"
        )
    try:
        intervention = Intervention.parse(f"{kind}={value}{at}{site}")
    except ValueError as error:
        raise UsageError(f"--map {name}: {error}") from None
    return replace(plan, interventions=(*plan.interventions, intervention))


def _option(name: str, value: str, known: Option | None) -> Option:
    """Return an option as the command line writes it; one that it does not have as ``--name=value`` or ``-n value``."""
    is_apart = name.startswith("-") and not name.startswith("--") if known is None else known.words[0] == name
    return Option(name, (name, value) if is_apart else (f"{name}={value}",))


def _bare(arguments: Sequence[str]) -> Plan:
    return Plan("script", "", tuple(arguments), "", 1)
