"""Which argument or environment variable makes the difference between two command lines of one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgeglass_diag.explanation.engine import Explanation, TrialsOf, explain_difference
from edgeglass_diag.explanation.program_trials import ProgramRunner, ProgramTrial, over_seeds
from edgeglass_diag.explanation.subjects import Subject
from edgeglass_diag.records import UsageError
from edgeglass_diag.replaying.arguments import Option, differing_arguments, options_of, with_options
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.search import Subset

_NOT_SET = "not set"
_NOT_GIVEN = "not given"


@dataclass(frozen=True)
class Differences:
    """In what two command lines of one program differ.

    Attributes:
        arguments: option -> its form in the failing line and in the healthy one; None where it is not given.
        variables: environment variable -> its value in both; None where it is not set.
    """

    arguments: Mapping[str, tuple[Option | None, Option | None]]
    variables: Mapping[str, tuple[str | None, str | None]]

    @property
    def values(self) -> dict[str, tuple[str, str]]:
        """The failing and the healthy value of each, in words."""
        named = {
            name: tuple(_NOT_GIVEN if each is None else each.value for each in both)
            for name, both in self.arguments.items()
        }
        named |= {
            _variable(name): tuple(_NOT_SET if each is None else each for each in both)
            for name, both in self.variables.items()
        }
        return {name: (both[0], both[1]) for name, both in named.items()}

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each."""
        return dict.fromkeys(self.arguments, "argument") | dict.fromkeys(map(_variable, self.variables), "variable")

    def plan_with(self, plan: Plan, changed: Subset, side: int) -> Plan:
        """Return a plan in which some differences are as on one side: 0 is the failing one, 1 the healthy one."""
        options = {name: both[side] for name, both in self.arguments.items() if name in changed}
        variables = {name: both[side] for name, both in self.variables.items() if _variable(name) in changed}
        title = " ".join(["failing with" if side else "healthy with", *sorted(changed)]) if changed else ""
        return replace(
            plan, arguments=with_options(plan.arguments, options), environment={**plan.environment, **variables},
            title=title or ("failing" if side else "healthy"),
        )  # fmt: skip


def _variable(name: str) -> str:
    return f"${name}"


def differences(failing: Subject, healthy: Subject) -> Differences:
    """Return in what two runs of one program differ.

    Raises:
        UsageError: if they are runs of different programs, or if nothing differs.
    """
    ours, theirs = failing.program, healthy.program
    if (ours.kind, ours.target) != (theirs.kind, theirs.target):
        raise UsageError(f"--against: expected a run of {ours.target}, got one of {theirs.target}")
    names = sorted(failing.variables.keys() | healthy.variables.keys())
    both = {name: (failing.variables.get(name), healthy.variables.get(name)) for name in names}
    found = Differences(
        differing_arguments(ours.arguments, theirs.arguments),
        {name: values for name, values in both.items() if values[0] != values[1]},
    )
    if not found.values:
        raise UsageError(
            f"{failing.run} and {healthy.run} have the same arguments and variables{_commits(failing, healthy)}"
        )
    return found


def _commits(failing: Subject, healthy: Subject) -> str:
    if failing.commit and healthy.commit and failing.commit != healthy.commit:
        return f"; they are of different commits: --against-rev {healthy.commit[:10]} tells their lines apart"
    return ": there is nothing to explain"


def suspected(subject: Subject, words: Sequence[str]) -> Subject:
    """Return the program with the options of ``--suspect`` as they may be healthy.

    Args:
        subject: the failing program.
        words: each an option with its value, as ``--lr=2e-4`` or ``--lr 2e-4``; an environment variable as ``$NAME=x``.

    Raises:
        UsageError: for a word that is neither.
    """
    variables = dict(subject.variables)
    arguments = subject.program.arguments
    for word in words:
        if word.startswith("$") and "=" in word:
            name, _, value = word[1:].partition("=")
            variables[name] = value
            continue
        options = options_of(word.split())
        if len(options) != 1 or options[0].name.startswith("argument "):
            raise UsageError(f"--suspect: expected an option with its healthy value, as --lr=2e-4, got {word!r}")
        arguments = with_options(arguments, {options[0].name: options[0]})
    return replace(subject.with_arguments(arguments), variables=variables)


def explain_differences(
    found: Differences, failing: Plan, healthy: Plan, *, seeds: Sequence[int], runner: ProgramRunner
) -> Explanation:
    """Return which differences cure the failing program, and which make the healthy one fail.

    Raises:
        OutOfBudgetError: if the budget is spent before both have run.
    """

    def trials(plan: Plan, side: int) -> TrialsOf[ProgramTrial]:
        def made(changed: Subset) -> list[ProgramTrial]:
            kind = found.kinds[min(changed)] if changed else "control"
            return over_seeds(ProgramTrial(found.plan_with(plan, changed, side), kind), seeds)

        return made

    return explain_difference(
        list(found.values), curing=trials(failing, 1), breaking=trials(healthy, 0), runner=runner, early=True
    )
