"""What a plan does in the process of its replay, without one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.programs.options import Extension, ProcessOptions
from edgeglass_diag.records import SourceLine
from edgeglass_diag.replaying import in_process, interventions
from edgeglass_diag.replaying.mirror import of_scratch
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.replayed import _places
from edgeglass_diag.replaying.surroundings import environment_of
from edgeglass_diag.schedule import Schedule

SLOWER = Intervention("optimizer.lr", 0.1)


def test_it_is_counted_how_often_each_intervention_was_made(monkeypatch):
    made = SimpleNamespace(wanted=SLOWER, applied=0, place=None)
    monkeypatch.setattr(
        interventions, "attach_all", lambda wanted: [made] if wanted == (SLOWER,) else [], raising=False
    )
    plan = Plan("script", "train.py", (), "", 3, interventions=(SLOWER,))
    attached = in_process._attach_all(Plan.parse(plan.as_text()))
    made.applied = 3
    assert in_process._told(attached) == {"applied": {"optimizer.lr=0.1": 3}, "places": {}}
    made.place = SourceLine("/train.py", 7)
    assert in_process._told(attached)["places"] == {"optimizer.lr=0.1": "/train.py:7"}
    assert in_process._attach_all(Plan("script", "train.py", (), "", 3)) == ()


def test_a_place_in_the_mirror_is_told_as_one_of_the_program():
    results = [{}, {"places": {"a": "/out/tree/home/train.py:7"}}, {"places": {"a": "/other.py:1", "b": "/lib.py:2"}}]
    assert _places("/out/tree", results) == {"a": "/home/train.py:7", "b": "/lib.py:2"}


def test_the_environment_is_offline_and_its_caches_are_in_the_mirror(tmp_path):
    for name in ("home", "cache", "program", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "cache" / "weights").write_text("old")
    plan = Plan(
        "script", "train.py", (), "", 3, folder=str(tmp_path / "program"), scratch=str(tmp_path / "scratch"),
        environment={"SEED": "3", "DROPPED": None},
    )  # fmt: skip
    given = {
        "HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "cache"), "DROPPED": "1", "WANDB_MODE": "online",
        "PYTHONPATH": f"src:{tmp_path}/elsewhere", "PYTHONHASHSEED": "7",
    }  # fmt: skip
    mirror = of_scratch(plan.scratch)
    made = environment_of(plan, mirror, "/short", given)
    assert made["HOME"] == mirror.at(given["HOME"])
    assert (Path(made["HF_HOME"]) / "weights").read_text() == "old"
    assert made["PYTHONPATH"] == f"{mirror.at(plan.folder)}/src:{tmp_path}/elsewhere"
    assert (made["WANDB_MODE"], made["HF_HUB_OFFLINE"], made["TMPDIR"]) == ("offline", "1", "/short")
    assert (made["SEED"], made["PYTHONHASHSEED"], "DROPPED" in made) == ("3", "7", False)
    assert made["WANDB_DIR"].startswith(plan.scratch)
    assert environment_of(plan, mirror, "/short", {**given, "WANDB_MODE": "disabled"})["WANDB_MODE"] == "disabled"


def test_the_last_step_is_recorded_whatever_the_distance():
    schedule = Schedule(every=100, dense=2, last=57)
    assert schedule(57)
    assert not schedule(58)


def test_the_extension_travels_with_the_options():
    options = ProcessOptions("/run", 10, {}, extension=Extension("module", "text", {"replay": "unchanged"}), steps=60)
    assert ProcessOptions.parse(options.as_text()) == options
    assert options.header == {"replay": "unchanged"}
