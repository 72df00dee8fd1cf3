"""Maps: axes, what a cell shows, what a setting does, and real replays of a recipe and a program over a grid."""

import io
import json
import math
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import ValidationError
from rich.console import Console

import edgeglass_diag as eg
from edgeglass_diag.agents import plan
from edgeglass_diag.commands.output import print_parts
from edgeglass_diag.commands.render.explanation import explanation_tables
from edgeglass_diag.explained.map_tiles import map_figure
from edgeglass_diag.explained.phase_map import CellOutcome, KeptMap
from edgeglass_diag.explained.record import read_explanation
from edgeglass_diag.explanation import pool
from edgeglass_diag.explanation.axes import Axis, cells_of, parse_axes
from edgeglass_diag.explanation.map_report import MapFacts, map_report
from edgeglass_diag.explanation.mapping import CellResult, phase_map
from edgeglass_diag.explanation.of_recipe_maps import MapQuestion, map_recipe
from edgeglass_diag.explanation.outcome import Outcome
from edgeglass_diag.explanation.recipe_trials import RecipeTrial
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.programs.targets import Recipe
from edgeglass_diag.provider_protocols import provider
from edgeglass_diag.records import UsageError
from edgeglass_diag.reporting import make_html, open_runs
from edgeglass_diag.store import RunWriter
from tests.explain.test_programs import TRAIN
from tests.helpers import dying
from tests.helpers.explanations import write_mapped

SMALL = ("data.train=64", "data.val=32", "data.test=32", "train.batch_size=32", "model.layers=1", "model.latents=4")
INCIDENT = Path(__file__).parents[2] / "docs" / "maps" / "incident.json"
DIVERGED, COLLAPSED = Outcome(math.inf), Outcome(0.0, codes=("EG301",))


def learns(loss):
    return Outcome(loss, accuracy=0.9, accuracy_bound=0.1)


def mapped(results, *axes):
    return phase_map(parse_axes(axes), {tuple(cell.split()): result for cell, result in results.items()})


def test_values_are_split_at_commas_outside_of_brackets_and_quotes():
    assert Axis.parse('--note="a,b", c') == Axis("--note", ('"a,b"', "c"))
    assert cells_of(parse_axes(["a=1,2", "b=3,4"])) == [("1", "3"), ("1", "4"), ("2", "3"), ("2", "4")]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["optim.lr"], "--map optim.lr: expected NAME=VALUE,VALUE,..., as optim.lr=1e-3,1e-2"),
        (["optim.lr=1"], "--map optim.lr=1: expected at least two values, got 1"),
        (["optim.lr=1,"], "--map optim.lr=1,: expected NAME=VALUE"),
        (["optim.lr=1,2,1"], "expected each value once, got 1 twice"),
        (["a=1,2", "a=3,4"], "--map a: expected each setting once"),
        ([f"{name}=1,2" for name in "abcde"], "expected at most 4 settings, got 5"),
        ([f"{name}={','.join(map(str, range(40)))}" for name in "ab"], "expected at most 1000 cells, got 1600"),
    ],
)
def test_what_is_no_axis_is_one_clear_error(texts, message):
    with pytest.raises(UsageError) as error:
        parse_axes(texts)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (CellResult([learns(-0.5), learns(-0.3)]), CellOutcome.LEARNS),
        (CellResult([learns(-0.5), DIVERGED]), CellOutcome.DISAGREE),
        (CellResult([learns(-0.04)]), CellOutcome.FAILS),
        (CellResult([Outcome(-0.5, accuracy=0.05, accuracy_bound=0.1)]), CellOutcome.FAILS),
        (CellResult([COLLAPSED, COLLAPSED, DIVERGED]), CellOutcome.COLLAPSED),
        (CellResult([DIVERGED], crashed=1), CellOutcome.DIVERGED),
        (CellResult(crashed=2), CellOutcome.CRASHED),
        (CellResult(possible=False), CellOutcome.IMPOSSIBLE),
        (CellResult(), CellOutcome.NOT_RUN),
    ],
)
def test_what_the_replays_of_a_cell_show(result, outcome):
    assert mapped({"1": result, "2": CellResult()}, "a=1,2").cells[0].outcome is outcome


def test_what_a_setting_does_is_counted_beyond_seeds():
    found = mapped(
        {
            "1 x": CellResult([learns(-0.8), learns(-0.78)]), "2 x": CellResult([COLLAPSED, COLLAPSED]),
            "1 y": CellResult([learns(-0.8), learns(-0.78)]), "2 y": CellResult([learns(-0.5), learns(-0.52)]),
            "1 z": CellResult([learns(-0.8), learns(-0.2)]), "2 z": CellResult([learns(-0.4), learns(-0.3)]),
            "1 w": CellResult([learns(-0.8)]), "2 w": CellResult(crashed=1),
        },
        "a=1,2", "b=x,y,z,w",
    )  # fmt: skip
    first = found.effects[0]
    assert (first.setting, first.lines, first.decides) == ("a", 3, 1)
    assert [(line.others, line.worst, line.best, line.decides) for line in first.where] == [
        ("b=x", "2", "1", True),
        ("b=y", "2", "1", False),
    ]


def test_a_map_is_shown_in_the_terminal_in_notebooks_and_as_a_figure():
    results = {"1 [8]": CellResult([learns(-0.8)]), "1 [9]": CellResult([DIVERGED])}
    found = mapped(results | {"2 [8]": CellResult(crashed=1), "2 [9]": CellResult()}, "a=1,2", "b=[8],[9]")
    report = map_report(found, [], MapFacts(1, 30, finished=False, seconds=1.0))
    shown = io.StringIO()
    print_parts(explanation_tables(report), Console(file=shown, width=100))
    for words in ("Of 4 cells (1 seed of 30 steps each): 1 learns, 1 diverged, 1 crashed, 1 not run.", "● -80%", "[9]"):
        assert words in shown.getvalue()
        assert words in report._repr_markdown_().replace("\\", "")
    assert "The budget was spent" in report.verdict
    assert KeptMap.model_validate(report.as_dict()["map"]) == found
    figure = map_figure(found, TEMPLATES["dark"])
    assert {trace.name for trace in figure.data if trace.type == "heatmap"} == {
        "learns", "diverged", "crashed", "not run"
    }  # fmt: skip


def test_a_map_without_all_of_its_cells_is_refused():
    found = mapped({"1": CellResult(), "2": CellResult()}, "a=1,2").model_dump(mode="json")
    with pytest.raises(ValidationError, match="expected the 2 cells of its axes in their order"):
        KeptMap.model_validate(found | {"cells": found["cells"][::-1]})


def test_a_map_stands_in_the_report_of_the_run_and_in_that_of_a_replay(tmp_path):
    run, out = write_mapped(tmp_path)
    assert read_explanation(out).phase_map is not None
    for folder in (run, next((out / "trials").glob("1e-3*"))):
        page = make_html(open_runs([folder]), None)
        for words in ("What each setting does", "model.norm = none", "Blue: it learns"):
            assert words.lower() in page.lower()


def test_a_process_that_dies_is_a_trial_that_failed_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "replay", dying.replay)
    trials = [RecipeTrial(label, {"a": label}, 0, 1) for label in ("one", "dies", "two", "raises", "three")]
    with pool.Pool(tmp_path, workers=2, goes_on=True) as running:
        done = running.run(trials)
        assert {running.done[key][0].label for key in done} == {"one", "two", "three"}
        dead, raised = running.failures(trials)
        assert "terminated abruptly" in dead
        assert raised == "RuntimeError: no convergence"


def test_wrong_settings_of_a_recipe_are_one_error_before_anything_runs(tmp_path):
    def refusal(*axes, recipe="perceiver"):
        with pytest.raises(UsageError) as error:
            map_recipe(MapQuestion(Recipe(recipe, SMALL), parse_axes(axes), tmp_path / "out"))
        assert not (tmp_path / "out").exists()
        return str(error.value)

    kept = tmp_path / "kept"
    (job,) = provider().plan("perceiver", SMALL)
    RunWriter(kept, name="kept", header={"settings": dict(job.settings)}).finish("finished", {})
    asked = plan.Request(str(kept), "", None, (), (), 1, 12, 60.0, ("optim.lrr=1,2",))
    with pytest.raises(UsageError, match=r"--map optim\.lrr: no such setting; did you mean 'optim\.lr'\?"):
        plan.plan(asked)
    assert plan.plan(replace(asked, axes=("optim.lr=1,2",)))["replays"].startswith("2: 2 combinations")
    assert "--map optim.lrr: no such setting; did you mean 'optim.lr'?" in refusal("optim.lrr=1,2")
    assert "--map optim.lr=x: " in refusal("optim.lr=1,x")
    assert "--map train.epochs: 1 and 2 are the same training in a replay" in refusal("train.epochs=1,2")
    assert "--map seed: each cell is replayed with several seeds" in refusal("seed=1,2")
    assert "expected a recipe of one run, and incident has 2" in refusal("optim.lr=1,2", recipe="incident")
    assert "unknown recipe 'nonsense'" in refusal("optim.lr=1,2", recipe="nonsense")


def test_axes_in_python_are_asked_for_alone(tmp_path):
    with pytest.raises(UsageError, match="expected axes= alone"):
        eg.explain("perceiver", axes=["optim.lr=1,2"], suspects=["--lr=1"])
    with pytest.raises(UsageError, match=r"did you mean 'optim\.lr'"):
        eg.explain("perceiver", axes=["optim.l=1,2"], settings=SMALL, out=tmp_path / "out")
    (tmp_path / "train.py").write_text(dedent(TRAIN))
    with pytest.raises(UsageError, match="--map lr: expected an option"):
        eg.explain(tmp_path / "train.py", axes=["lr=1,2"], out=tmp_path / "out")


@pytest.mark.long
def test_a_recipe_is_mapped_and_the_map_goes_on_from_what_is_there(feature_cache, tmp_path):
    def asked(*texts):
        question = MapQuestion(Recipe("perceiver", SMALL), parse_axes(texts), tmp_path, seeds=1, steps=4, workers=1)
        return map_recipe(question)

    report = asked("model.latent_width=16,20", "model.heads=8,4")
    found = {cell.values: cell for cell in report.phase_map.cells}
    assert found["20", "8"].outcome is CellOutcome.IMPOSSIBLE
    assert all(len(cell.losses) == 1 for values, cell in found.items() if values != ("20", "8"))
    files = {trial.label: Path(trial.out) / "run.json" for trial in report.trials}
    assert sorted(files) == [
        f"model.heads={heads} model.latent_width={width}" for heads, width in [(4, 16), (4, 20), (8, 16)]
    ]
    before = {file: file.stat().st_mtime_ns for file in files.values()}
    again = asked("model.heads=4,8", "model.latent_width=20,16")
    assert {cell.values[::-1]: cell.losses for cell in again.phase_map.cells} == {
        values: cell.losses for values, cell in found.items()
    }
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert json.loads((tmp_path / "explain.json").read_text()) == again.as_dict()


@pytest.mark.long
def test_a_program_is_mapped_by_options_and_interventions(command, tmp_path):
    (tmp_path / "train.py").write_text(dedent(TRAIN))
    words = (
        "--map",
        "--lr=0.5,x",
        "--map",
        "initial.std@0.weight=0.3,0.2",
        "--seeds",
        1,
        "--steps",
        12,
        "--out",
        "map",
    )
    done = command("explain", "train.py", *words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [(cell["values"], cell["outcome"]) for cell in result["map"]["cells"]] == [
        (["0.5", "0.3"], "learns"), (["0.5", "0.2"], "learns"), (["x", "0.3"], "crashed"), (["x", "0.2"], "crashed"),
    ]  # fmt: skip
    assert sorted({trial["kind"] for trial in result["trials"]}) == ["cell", "control"]
    asked = ["--map=--lr=0.5,x", "--map", "initial.std@0.weight=0.3,0.2", "--seeds", "1", "--steps", "12"]
    assert result["again"] == ["train.py", *asked]


def test_wrong_use_with_a_program_is_one_line(command, tmp_path):
    (tmp_path / "train.py").write_text(dedent(TRAIN))

    def refusal(*words):
        done = command("explain", "train.py", *words, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        return done.stderr

    assert "--map lr: expected an option (--lr), a variable ($NAME)" in refusal("--map", "lr=1,2")
    assert "--map optimizer.lr: expected a number, got 'x'" in refusal("--map", "optimizer.lr=1,x")
    assert "expected one of --map and --suspect" in refusal("--map", "--lr=1,2", "--suspect", "--lr=1")


def test_the_map_of_the_incident_is_whole_and_of_the_command_that_it_names():
    content = json.loads(INCIDENT.read_text(encoding="utf-8"))
    found = KeptMap.model_validate(content["map"])
    words = shlex.split(content["command"])
    axes = parse_axes([word for option, word in pairwise(words) if option == "--map"])
    assert [(axis.setting, axis.values) for axis in found.axes] == [(axis.name, axis.values) for axis in axes]
    seeds = int(words[words.index("--seeds") + 1])
    assert len(found.cells) >= 60
    assert all(cell.of + cell.crashed == seeds for cell in found.cells)
    facts = MapFacts(seeds, content["steps"], finished=True, seconds=0.0)
    assert content["verdict"] == map_report(found, [], facts).verdict
