"""Replays that do not tell two ends apart are made longer, where nobody has chosen their length."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from edgeglass_diag.explanation import of_programs
from edgeglass_diag.explanation.of_programs import ProgramQuestion, explain_program
from edgeglass_diag.explanation.of_revisions import RevisionSearch
from edgeglass_diag.explanation.outcome import OutcomeThreshold
from edgeglass_diag.explanation.subjects import Subject
from edgeglass_diag.programs.targets import Program
from edgeglass_diag.replaying.replayed import Ending


@dataclass(frozen=True)
class Told:
    """What stands for a report, of which only the words that ask again are set."""

    again: object = None


@pytest.fixture
def lengths(tmp_path, monkeypatch):
    """Return the steps of the replays of a search that tells its ends apart from some length on, ending as given."""

    def searched(told_from, ending=Ending.STOPPED, **asked):
        tried = []

        def search(plan, revision, *, seeds, runner, scratch):
            assert not runner.replayed, "the shorter ones are no part of the answer"
            tried.append((plan.steps, plan.every))
            trial = SimpleNamespace(key=str(plan.steps))
            runner.replayed[trial.key] = trial, SimpleNamespace(ending=ending)
            return RevisionSearch([], [], OutcomeThreshold(-0.1) if plan.steps >= told_from else None)

        monkeypatch.setattr(of_programs, "explain_revisions", search)
        monkeypatch.setattr(of_programs.reports, "of_revisions", lambda *_: Told())
        monkeypatch.setattr(of_programs, "keep", lambda *kept: None)
        subject = Subject(Program("script", "train.py", ()), str(tmp_path))
        explain_program(ProgramQuestion(subject, tmp_path / "why", revision="HEAD~9", **asked))
        return tried

    return searched


def test_until_they_tell(lengths):
    assert lengths(60) == [(60, 1)]
    assert lengths(100) == [(60, 1), (120, 3)]


def test_to_four_times_their_length(lengths):
    assert lengths(1000) == [(60, 1), (120, 3), (240, 6)]


def test_not_where_the_length_is_chosen_or_the_program_ends_by_itself(lengths):
    assert lengths(1000, steps=50) == [(50, 1)]
    assert lengths(1000, Ending.FINISHED) == [(60, 1)]
