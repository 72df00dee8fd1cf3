"""The content of ``explain.json``, each fact with its type; of a recipe's explanation some are not there."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from edgeglass_diag.explained.phase_map import KeptMap
from edgeglass_diag.marks import Mark
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import is_file, is_folder, parsing, read_text
from edgeglass_diag.user_input.json_text import parse_json

EXPLANATION = "explain.json"
"""The file in the folder of an explanation."""

CONTROL = "control"
"""The kind of a replay in which nothing was changed."""

_MAX_BYTES = 16 * 2**20
_Text = Annotated[str, Field(max_length=4096)]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)


class Tried(_Kept):
    """A change that was tried: whether it cures, and where what it changes is set.

    ``ill`` and ``healthy`` are its values; ``cured`` and ``made_ill`` counts as ``3/3``, None where none was made;
    ``together`` the changes that it is a cause with, itself among them; ``where`` is ``file:line``.
    """

    setting: _Text
    kind: _Text = "setting"
    ill: Any = None
    healthy: Any = None
    where: _Text | None = None
    cured: _Text | None = None
    made_ill: _Text | None = None
    together: tuple[_Text, ...] = ()


class Marked(_Kept):
    """A headline finding of the explained run, and what the replays have shown of it."""

    code: _Text
    name: _Text = ""
    site: _Text = ""
    mark: Mark
    by: _Text = ""


class KeptTrial(_Kept):
    """One replay.

    ``loss`` is relative to chance (-0.1: 10 % below), ``accuracy`` in-batch and a fraction, None where not known or
    not finite; ``ill`` says that it does not learn; ``out`` is its run folder.
    """

    label: _Text
    kind: _Text = ""
    seed: int
    loss: float | None = None
    accuracy: float | None = None
    ill: bool
    steps: int = 0
    findings: tuple[_Text, ...] = ()
    out: _Text = ""
    ending: _Text | None = None

    @property
    def is_resolved(self) -> bool:
        """Whether its record tells how the training goes; of a recipe's replay no ending is kept."""
        return self.ending in (None, "stopped", "finished")


class KeptExplanation(_Kept):
    """What the replays show.

    ``run`` is the explained run's folder; ``border`` the loss relative to chance above which a replay counts as ill;
    ``noise`` the difference of a replay in which nothing was changed; ``guard`` what kept the replays from writing;
    ``left_out`` what the replays began without, as the run had made it;
    ``phase_map`` the map, where one was made;
    ``again`` the words behind ``edgeglass-diag explain`` that ask it again, the run's folder first where ``run`` is
    one; none where they are not known.
    """

    verdict: str
    run: _Text | None = None
    causes: tuple[Tried, ...] = ()
    not_causes: tuple[Tried, ...] = ()
    findings: tuple[Marked, ...] = ()
    trials: tuple[KeptTrial, ...] = ()
    border: float | None = None
    steps: int | None = None
    finished: bool = True
    seconds: float | None = None
    guard: str = ""
    noise: float | None = None
    left_out: tuple[_Text, ...] = ()
    phase_map: KeptMap | None = Field(default=None, alias="map")
    again: tuple[_Text, ...] = ()

    @property
    def control(self) -> str | None:
        """Label of the replays that nothing was changed in; where no kinds were kept that of the first replay."""
        kinds = {trial.label for trial in self.trials if trial.kind == CONTROL}
        first = [trial.label for trial in self.trials if not trial.kind]
        return next(iter([*sorted(kinds), *first]), None)

    @property
    def unchanged(self) -> tuple[KeptTrial, ...]:
        """The replays in which nothing was changed."""
        return tuple(trial for trial in self.trials if trial.label == self.control)

    def gone(self, trial: KeptTrial) -> tuple[str, ...]:
        """Return the codes of findings that the unchanged replays have and this one has not."""
        before = dict.fromkeys(code for each in self.unchanged for code in each.findings)
        return tuple(code for code in before if code not in trial.findings)

    def groups(self) -> dict[str, tuple[KeptTrial, ...]]:
        """Return the replays of each change in the order in which the changes were first tried."""
        labels = dict.fromkeys(trial.label for trial in self.trials)
        return {label: tuple(trial for trial in self.trials if trial.label == label) for label in labels}


def is_explanation(folder: Path) -> bool:
    """Return whether a folder is one of an explanation."""
    return is_file(folder / EXPLANATION)


def read_explanation(folder: Path) -> KeptExplanation:
    """Return the explanation that a folder keeps.

    Raises:
        UsageError: if there is none, or a fact in it has another type.
    """
    file = folder / EXPLANATION
    if not is_file(file):
        expected = "a folder written by 'edgeglass-diag explain'"
        raise UsageError(f"no explanation: {folder} has no {EXPLANATION} (expected {expected})")
    content = parse_json(read_text(file, most=_MAX_BYTES), file)
    with parsing(file, "an explanation"):
        return KeptExplanation.model_validate(content)


def trial_folder(folder: Path, out: str) -> Path | None:
    """Return the run folder of a replay inside of its explanation's folder, also where that was moved; else None.

    Args:
        folder: of the explanation.
        out: the run folder as it was noted, from another working directory or on another machine.
    """
    parts = [part for part in PurePath(out).parts if part != PurePath(out).anchor]
    if ".." in parts or "\0" in out:
        return None
    places = (folder.joinpath(*parts[begin:]) for begin in range(len(parts)))
    return next((place for place in places if is_folder(place)), None)
