"""The public function ``explain``: the root cause of a failing training, by replays that differ in one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from edgeglass_diag.explanation.of_recipes import Question, explain_run
from edgeglass_diag.explanation.report import ExplainReport
from edgeglass_diag.folders import default_folder
from edgeglass_diag.records import UsageError
from edgeglass_diag.store import Run

if TYPE_CHECKING:
    from edgeglass_diag.explanation.callable_replay import Build


@overload
def explain(
    subject: str | Path | Run,
    against: str | Path | Run | None = None,
    *,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    budget: float | None = None,
) -> ExplainReport: ...


@overload
def explain(
    subject: Build,
    *,
    failing: Mapping[str, Any],
    healthy: Mapping[str, Any],
    out: str | Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    budget: float | None = None,
) -> ExplainReport: ...


def explain(  # noqa: PLR0913  the options of one question; all but the subject have defaults
    subject: str | Path | Run | Build,
    against: str | Path | Run | None = None,
    *,
    failing: Mapping[str, Any] | None = None,
    healthy: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    budget: float | None = None,
) -> ExplainReport:
    """Explain why a training fails, by short replays that differ in one thing.

    Either a recorded run of a recipe is explained, whose replays run in processes of their own (so a script needs
    ``if __name__ == "__main__":``), or a function that builds a training from settings, which is called here.

    Args:
        subject: the failing run or its folder; or a function from settings to (model, optimizer, step), of which a
            call of ``step`` takes one optimizer step on the next batch.
        against: a healthy run, its folder, or a recipe by name or YAML file; changes that are often the cure are
            tried if None. Of a run alone.
        failing: settings with which the function's training fails. Of a function alone, like ``healthy``.
        healthy: settings with which it learns.
        settings: ``section.key=value`` on the recipe ``against``.
        out: folder of the replays, each of which is a run; below ``runs`` if None.
        seeds: replays of each change.
        steps: length of a replay in optimizer steps; if None at most 60 of a run, and 100 of a function.
        budget: seconds after which no replay begins.

    Raises:
        UsageError: if the two have equal settings or none, ``out`` is in use, or the budget is too small.
    """
    if callable(subject):
        from edgeglass_diag.explanation.callable_replay import explain_build

        if failing is None or healthy is None or against is not None or settings:
            raise UsageError("explain: expected failing= and healthy= settings with a function, and nothing against")
        place = Path(out) if out is not None else default_folder("explain", Path("runs"))
        return explain_build(
            subject, failing=failing, healthy=healthy, out=place, steps=steps or 100, seeds=range(seeds), budget=budget
        )
    if failing is not None or healthy is not None:
        raise UsageError("explain: failing= and healthy= are for a function; a run is compared by against=")
    folder = _folder(subject)
    place = Path(out) if out is not None else default_folder(f"explain-{folder.name}", Path("runs"))
    other = None if against is None else str(against.folder if isinstance(against, Run) else against)
    return explain_run(Question(folder, other, settings, place, seeds, steps, budget))


def _folder(subject: str | Path | Run) -> Path:
    return subject.folder if isinstance(subject, Run) else Path(subject)
