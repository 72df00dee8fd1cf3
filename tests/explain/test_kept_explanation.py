"""An explanation as its folder keeps it: of any program and of a recipe, whole and damaged, moved and forged."""

import json
import math

import pytest

from edgeglass_diag.explained.curves import multiples
from edgeglass_diag.explained.record import read_explanation, trial_folder
from edgeglass_diag.explanation.keeping import keep
from edgeglass_diag.explanation.report import ChangeSet, ExplainReport, Replay, Suspect
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.figures.trials import Curve, Multiple, trials_figure
from edgeglass_diag.marks import FindingMark, Mark, read_marks
from edgeglass_diag.records import UsageError
from edgeglass_diag.render.explanation import notes, trial_cells, tried_cells
from tests.helpers.explanations import CHANGES, CURE, write_explained, write_trial


@pytest.fixture
def kept(tmp_path):
    return write_explained(tmp_path)[1]


def lines(figure, *, grey):
    return [trace for trace in figure.data if (trace.hoverinfo == "skip") is grey]


def test_every_change_has_a_picture_with_the_unchanged_replays_behind_it(kept):
    drawn, relative = multiples(read_explanation(kept), kept)
    assert relative
    assert [(each.label, len(each.curves), len(each.behind)) for each in drawn] == [
        (label, 3, 0 if kind == "control" else 3) for label, kind in CHANGES.items()
    ]
    cured = next(each for each in drawn if each.label == CURE)
    assert all(curve.learns and curve.losses[0] == pytest.approx(1, abs=0.01) for curve in cured.curves)
    figure = trials_figure(drawn, TEMPLATES["light"], relative=relative)
    assert (len(lines(figure, grey=False)), len(lines(figure, grey=True))) == (12, 9)
    assert len({trace.line.dash for trace in lines(figure, grey=False)}) == 2
    assert len({axis.matches for axis in figure.select_yaxes()} - {None}) == 1


def test_words_of_replays_and_changes(kept):
    explanation = read_explanation(kept)
    rows = {cells[0]: cells for cells in (trial_cells(each, explanation) for each in explanation.trials)}
    assert rows[CURE] == (CURE, "2", "72.0% below chance", "40.0%", "learns", "EG301, EG401", "60", "stopped")
    assert rows["nothing changed"][4:6] == ("does not learn", "–")
    assert rows["latents drawn anew"][5] == "none"
    assert tried_cells(explanation.causes[0]) == (CURE, "0.002", "0.0002", "3/3", "not tried", "train.py:41")
    assert "A replay that changes nothing ends bit for bit where the unchanged program does." in notes(explanation)


@pytest.mark.parametrize("ending", ["refused", "crashed", "timed out"])
def test_a_replay_without_a_result_is_not_said_to_learn_or_not(kept, ending):
    content = json.loads((kept / "explain.json").read_text())
    content["trials"][6] |= {"ending": ending, "loss": None, "accuracy": None, "findings": []}
    (kept / "explain.json").write_text(json.dumps(content))
    explanation = read_explanation(kept)
    cells = trial_cells(explanation.trials[6], explanation)
    assert cells[2:6] == ("–", "–", "no result", "–")


def test_an_explanation_of_a_recipe_is_read_with_the_keys_that_it_has(tmp_path):
    for name, learns in (("failing", False), ("failing-optim.lr", True)):
        write_trial(tmp_path / "why" / f"{name}-seed0-abcdef", learns=learns, seed=0)
    report = ExplainReport(
        verdict="Cured by optim.lr (1/1), alone.",
        causes=(Suspect("optim.lr", 0.3, 0.003, "1/1", "1/1", ("optim.lr",)),),
        not_causes=(Suspect("optim.weight_decay", 0.1, 0.0, "0/1", None),),
        cures=(ChangeSet(("optim.lr",), "1/1"),),
        breaks=(),
        threshold=-0.05,
        steps=16,
        trials=(
            Replay("failing", 0, None, None, True, 16, ("EG401",), "elsewhere/why/failing-seed0-abcdef", "control"),
            Replay("failing optim.lr", 0, -0.3, 0.2, False, 16, (), "elsewhere/why/failing-optim.lr-seed0-abcdef"),
        ),
        finished=False,
        seconds=3.0,
    )
    (tmp_path / "why" / "explain.json").write_text(json.dumps(report.as_dict()))
    explanation = read_explanation(tmp_path / "why")
    assert tried_cells(explanation.causes[0])[:5] == ("optim.lr", "0.3", "0.003", "1/1", "1/1")
    assert trial_cells(explanation.trials[1], explanation)[5] == "EG401"
    drawn, _ = multiples(explanation, tmp_path / "why")
    assert [(each.label, len(each.behind)) for each in drawn] == [("failing", 0), ("failing optim.lr", 1)]
    assert notes(explanation)[-1] == "Not everything was tried: the budget was spent before."


def test_replays_are_found_where_the_folder_was_moved_and_never_outside_of_it(kept, tmp_path):
    name = "latents-drawn-anew-0"
    for out in (str(kept / "trials" / name), f"why/trials/{name}", f"/other/machine/why/trials/{name}"):
        assert trial_folder(kept, out) == kept / "trials" / name
    for out in ("", "/", "..", f"{kept}/trials/../../perceiver", str(tmp_path / "perceiver"), "/etc", "a\0b"):
        assert trial_folder(kept, out) is None


def test_replays_that_cannot_be_read_have_no_curve(kept):
    (kept / "trials" / "nothing-changed-1" / "run.json").write_text("{")
    drawn, _ = multiples(read_explanation(kept), kept)
    assert [len(each.curves) for each in drawn] == [2, 3, 3, 3]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"verdict": "x", "trials": [{"label": "a"}]}', '{"verdict": 3}'])
def test_a_damaged_explanation_is_one_error(tmp_path, content):
    (tmp_path / "explain.json").write_text(content)
    with pytest.raises(UsageError, match=r"explain\.json"):
        read_explanation(tmp_path)


def test_a_folder_without_an_explanation_says_what_was_expected(tmp_path):
    with pytest.raises(UsageError, match=r"no explanation: .* has no explain\.json \(expected a folder written by"):
        read_explanation(tmp_path)


def test_losses_that_are_not_finite_and_labels_of_any_length_are_drawn():
    curve = Curve(0, False, tuple(range(5000)), (*([1.0] * 4999), math.inf))
    many = [Multiple(f"<b>{'word ' * 60}{number}", (curve,)) for number in range(40)]
    figure = trials_figure(many, TEMPLATES["dark"], relative=False)
    assert len(figure.data) == 24
    assert len(figure.data[0].x) <= 401
    assert figure.data[0].y[-1] is None
    assert all("<b>" not in each.text for each in figure.layout.annotations)


def test_an_answer_to_another_question_takes_no_mark_away(tmp_path):
    (tmp_path / "run").mkdir()
    confirmed = FindingMark("EG202", "head", Mark.CONFIRMED, "learning rate x 0.1 cures (3/3)")
    unasked = FindingMark("EG202", "head", Mark.NOT_ASKED)
    refuted = FindingMark("EG202", "head", Mark.REFUTED, "it is gone, and the loss is no better")

    def kept(*marks):
        (tmp_path / "why").mkdir(exist_ok=True)
        report = ExplainReport("", (), (), (), (), -0.05, 60, (), True, 1.0, marks)
        keep(report, tmp_path / "why", tmp_path / "run")
        return list(read_marks(tmp_path / "run").values())

    assert kept(unasked) == [unasked]
    assert kept(confirmed) == [confirmed]
    assert kept(unasked) == kept() == [confirmed]
    assert kept(refuted) == [refuted]
