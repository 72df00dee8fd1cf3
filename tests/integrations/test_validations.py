"""Validations of the frameworks' own trainers: recorded at their steps, told where they are faulty, else silent."""

import json

import pytest

import edgeglass_diag as eg
from tests.helpers import framework_calls
from tests.helpers.command_server import IMPORTS, CommandServer

pytestmark = pytest.mark.slow

EVALUATIONS = {"EG220", "EG605", "EG607", "EG612", "EG613", "EG611"}
LAST_STEP = 17

TOLD = {
    "lightning": {"": set(), "mode": {"EG605", "EG612"}, "pictures": {"EG613"}},
    "transformers": {
        "": set(), "own": set(), "mode": {"EG605", "EG612"}, "gradients": {"EG611"}, "pictures": {"EG613"},
    },
    "sentence_transformers": {"": set(), "similarity": set(), "loss": set(), "mode": {"EG605", "EG612"}},
}  # fmt: skip
"""What is told of each validation, by its fault; empty names are those of healthy ones."""

BEFORE = {"lightning", "transformers"}
"""Trainers that validate before the first step: a sanity check of two batches, and ``eval_on_start``."""


@pytest.fixture(scope="module")
def copies():
    server = CommandServer([*IMPORTS, "tests.helpers.framework_evaluations"])
    yield server
    server.close()


def values(run, signal):
    frame = run.frame(signal)
    return {(step, site): value for step, site, value in zip(frame.step, frame.site, frame.value, strict=True)}


@pytest.mark.parametrize("name", ["lightning", *(pytest.param(name, marks=pytest.mark.long) for name in [*TOLD][1:])])
def test_validations_are_recorded_at_their_steps_and_told_where_they_are_faulty(copies, tmp_path, name):
    done = copies.call(framework_calls.validating, name, list(TOLD[name]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("SAID "))[5:])
    assert said[0] == said[-1]
    for fault, told in TOLD[name].items():
        run = eg.load(tmp_path / (fault or "healthy"))
        assert not [site for site in run.sites if site.coverage == "recorder_failed"], fault
        assert {finding.code for finding in run.findings} & EVALUATIONS == told, fault
        first = {0} if name in BEFORE and fault != "gradients" else set()  # the mode of the training is not known yet
        assert set(run.frame("evaluation/passes").step) == first | {6, 12, LAST_STEP}, fault
        modes = {1.0} if fault == "mode" else {0.0}
        assert set(run.frame("evaluation/training_mode").value) == modes, fault
    if name != "sentence_transformers":
        run = eg.load(tmp_path / "healthy")
        losses = values(run, "evaluation/loss")
        logged = values(run, f"metric/{'val_loss' if name == 'lightning' else 'eval_loss'}")
        for step, at in ((6, 5), (12, 11), (LAST_STEP, LAST_STEP)):
            assert losses[step, "cross_entropy"] == pytest.approx(logged[at, ""], rel=1e-4)
        return
    losses = values(eg.load(tmp_path / "loss"), "evaluation/loss")
    assert {step for step, _ in losses} == {6, 12, LAST_STEP}
    recalls = values(eg.load(tmp_path / "mode"), "evaluation/recall/r1")
    assert {step for step, _ in recalls} == {6, 12, LAST_STEP}
