"""The command that an explanation keeps, read by the command line that it is for."""

from pathlib import Path

import pytest
import typer

from edgeglass_diag.commands import app
from edgeglass_diag.explanation.axes import Axis
from edgeglass_diag.explanation.command import command, map_options, numbers
from edgeglass_diag.intervention import Intervention
from edgeglass_diag.programs.targets import Program, Recipe, resolve

ALONE = {"seeds": 3, "steps": None, "budget": None, "workers": None}
AXES = ["--lr=1e-3,1e-2", "$SIZE=[8,16],[16]", "initial.std@a.b=0.1,2"]


def parsed(words):
    """What the verb is given by the words."""
    verb = typer.main.get_command(app).commands["explain"]
    told = verb.make_context("explain", list(words)).params
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


@pytest.mark.parametrize(
    "subject",
    [
        Program("module", "pkg.train", ("--lr", "2e-3", "--seeds", "9", "-x")),
        Program("module", "pkg.train"),
        Recipe("perceiver", ("optim.lr=1", "model.norm=pre")),
    ],
)
def test_a_subject_is_found_again_with_all_of_its_options(subject):
    given = numbers(seeds=5, steps=40, budget=0.1234567891, workers=2)
    words = command(subject, {**map_options(map(Axis.parse, AXES)), "--allow-write": ["a b", "c"], **given})
    told = parsed(words)
    assert told | {"seeds": 5, "steps": 40, "budget": 0.1234567891, "parallel": 2, "writable": ["a b", "c"]} == told
    assert told["mapped"] == AXES
    if isinstance(subject, Recipe):
        assert resolve(told["words"], told["module"], told["settings"]) == subject
    else:
        assert (told["module"], told["words"] or []) == (subject.target, list(subject.arguments))


@pytest.mark.parametrize("subject", [Path("-run"), Program("script", "-train.py", ("-x",)), Recipe("-mine.yaml")])
def test_a_name_that_begins_with_a_dash_is_no_option(subject):
    told = parsed(command(subject, {"--seeds": 2}))
    name = str(subject) if isinstance(subject, Path) else subject.target
    assert (told["words"][0], told["seeds"]) == (f"./{name}", 2)


def test_a_run_and_what_was_tried_is_asked_again_and_nothing_else(tmp_path):
    tried = [Intervention("initial.std", 0.123456789, "latents"), Intervention("dropout.off")]
    options = {"--try": [each.text for each in tried], "--suspect": ["--lr=2e-4", "$NAME=1"], "--against": "runs/good"}
    told = parsed(command(tmp_path / "my run", options))
    assert told["words"] == [str(tmp_path / "my run")]
    assert list(map(Intervention.parse, told["wanted"])) == tried
    assert (told["suspects"], told["against"]) == (["--lr=2e-4", "$NAME=1"], "runs/good")
    bare = parsed(command(tmp_path, numbers(**ALONE)))
    assert bare == parsed([str(tmp_path)])
