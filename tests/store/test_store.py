"""The run directory: round trips, concurrent reading, refusals."""

import math

import pytest

from edgeglass_diag.records import (
    Finding,
    ParameterOrigin,
    ParameterWrite,
    Reading,
    Severity,
    SourceLine,
    UsageError,
    Window,
)
from edgeglass_diag.signals import metric
from edgeglass_diag.sites import (
    AttentionSite,
    BatchSite,
    Coverage,
    DropoutPlace,
    DropoutSite,
    EmbeddingSite,
    LossFunction,
    LossSite,
    ModuleSite,
    PairSite,
    ParameterSite,
    RecorderSite,
    ReshapeSite,
    Side,
    SoftmaxSite,
)
from edgeglass_diag.store import RunWriter, find_runs, load

SITES = [
    ModuleSite(path="a.b", order=0, parents=("ü",), class_name="Linear"),
    ParameterSite(path="w", order=1, shape=(64, 8), local_shape=(32, 8), optimizer=1, group=0),
    ParameterSite(path="scale", order=2, coverage=Coverage.NOT_HELD),
    AttentionSite(path="a.attention", order=3, module="a", queries_from="latents"),
    LossSite(path="cross_entropy#1", order=4, function=LossFunction.CROSS_ENTROPY, reduction="mean"),
    EmbeddingSite(path="head[:64]", order=5, module="head", width=64, side=Side.TEXT),
    PairSite(path="a[:64] x b[:64]", order=6, left="a[:64]", right="b[:64]"),
    BatchSite(path="input0", order=7, argument="input0", shape=(3, 16, 16), dtype="float32"),
    ReshapeSite(path="a", order=8, before=(8, 16, 64), after=(8, 4, 16, 16)),
    SoftmaxSite(path="a", order=8, shape=(8, 16)),
    DropoutSite(path="", order=9, place=DropoutPlace.EVALUATION),
    RecorderSite(path="window", order=10, coverage=Coverage.RECORDER_FAILED, detail="ValueError: x"),
]


def finding(code="EG001", step=3, **more):
    return Finding(code, "name", Severity.WARNING, "a.b", step, "says <b>ü</b>", {"x": 1.5}, "do", **more)


def test_everything_comes_back_as_it_was(tmp_path):
    writer = RunWriter(tmp_path / "a%2F #?b", name="üñ", header={"settings": {"lr": 1}})
    readings = (
        Reading(0, "a.b", metric("nan"), (math.nan,)),
        Reading(0, "a.b", metric("inf"), (-math.inf,)),
        Reading(0, "", metric("heads"), (1.0, math.nan, math.inf)),
        Reading(0, "ü", metric("scalar"), (0.1,)),
    )
    origins = (ParameterOrigin("w", (2, 3), math.nan, (ParameterWrite("randn", "f.py", 3, 0.5, random=True),)),)
    writer.write(Window(0, readings, tuple(SITES), origins), [finding()])
    typed = {"since": 4, "learned_since": 8, "place": SourceLine("m.py", 3), "sites": ("a.b", "a.c"), "focus": "a"}
    last = finding(step=9, because_of="EG301", **typed)
    writer.write(Window(1, (Reading(1, "ü", metric("scalar"), (0.2,)),)), [last])
    writer.finish("finished", {"train_loss": 1.0})
    with load(tmp_path / "a%2F #?b") as run:
        assert (run.name, run.status, run.last_step) == ("üñ", "finished", 1)
        assert math.isnan(run.readings(metric("nan"))[0][1].values[0])
        assert run.readings(metric("inf"))[0][1].values == (-math.inf,)
        heads = run.readings(metric("heads"))[0][1].values
        assert heads[0] == 1.0
        assert math.isnan(heads[1])
        assert heads[2] == math.inf
        assert run.frame(metric("scalar")).value.tolist() == [0.1, 0.2]
        assert run.sites == SITES
        assert run.origins[0].writes == origins[0].writes
        failed, told = run.findings  # EG905 first, as the other follows from EG301
        assert told == last
        assert (failed.code, failed.severity) == ("EG905", "warning")  # one of the sites is a part that failed
        assert run.result == {"train_loss": 1.0}
        with pytest.raises(UsageError, match="has not recorded 'loss/total'; it has: metric/heads, metric/inf"):
            run.frame("loss/total")
        with pytest.raises(UsageError, match="no signal 'loss/totl'; did you mean 'loss/total'"):
            run.readings("loss/totl")


def test_a_reader_sees_each_window_as_it_is_written_and_only_what_is_new(tmp_path):
    writer = RunWriter(tmp_path / "run", name="r", header={})
    with load(tmp_path / "run") as run:
        assert (run.status, run.last_step) == ("running", -1)
        seen = 0
        for step in range(5):
            writer.write(Window(step, (Reading(step, "", metric("s"), (float(step),)),)))
            fresh = run.readings(metric("s"), after=seen)
            assert [reading.step for _, reading in fresh] == [step]
            seen = fresh[-1][0]
    writer.finish("finished", {})


def test_a_folder_in_use_is_refused_and_untouched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty: a run needs a new folder"):
        RunWriter(tmp_path, name="r", header={})
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_within_a_run_is_a_rank_of_it(tmp_path):
    for name in ("run", "run/rank-0", "run/rank-10", "run/rank-9", "run/checkpoints"):
        (tmp_path / "made").mkdir()
        RunWriter(tmp_path / "made", name=name, header={}).finish("finished", {})
        (tmp_path / "made").rename(tmp_path / name)
    RunWriter(tmp_path / "elsewhere", name="elsewhere", header={}).finish("finished", {})
    (tmp_path / "run" / "rank-11").symlink_to(tmp_path / "elsewhere")
    assert [p.name for p in find_runs(tmp_path)] == ["run", "elsewhere"]
    assert [p.name for p in find_runs(tmp_path / "run" / "rank-9")] == ["rank-9"]
    with load(tmp_path / "run") as run:
        assert [(rank, other.name) for rank, other in run.ranks.items()] == [
            (0, "run/rank-0"), (9, "run/rank-9"), (10, "run/rank-10"),
        ]  # fmt: skip


def test_runs_are_found_to_the_second_level_and_foreign_folders_left_out(tmp_path):
    for name in ("one", "group/two"):
        RunWriter(tmp_path / name, name=name, header={}).finish("finished", {})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("{}")
    assert [p.name for p in find_runs(tmp_path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no run.json"),
        ("{", "cannot be read as JSON"),
        ("[]", "is not of the format"),
        (
            '{"format": "edgeglass-diag run", "version": 99}',
            "has version 99; this edgeglass-diag reads versions 1, 2, 3, 4",
        ),
        ('{"format": "edgeglass-diag run", "version": 1}', "name: Field required"),
        (
            '{"format": "edgeglass-diag run", "version": 1, "name": "r", "pid": 1, "status": "failed"}',
            "has no signals.sqlite",
        ),
    ],
)
def test_foreign_folders_are_refused_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        load(tmp_path)


def test_names_and_arguments_that_are_no_text_are_kept_as_far_as_they_are(tmp_path):
    header = {"command": ["train.py", "\udcff.csv"], "settings": {"note": float("nan"), "path": tmp_path}}
    RunWriter(tmp_path / "run", name="\udcff", header=header).finish("finished", {"val_loss": float("inf")})
    with load(tmp_path / "run") as run:
        assert run.header["command"] == ["train.py", "?.csv"]
        assert run.name == "?"
        assert run.result["val_loss"] == float("inf")


def test_a_broken_database_is_refused(tmp_path):
    RunWriter(tmp_path / "run", name="r", header={}).finish("finished", {})
    (tmp_path / "run" / "signals.sqlite").write_bytes(b"no database" * 500)
    with pytest.raises(UsageError, match="is damaged: it was changed after the run had ended"):
        load(tmp_path / "run")


def test_metrics_are_logged_inside_of_the_watch_only(tmp_path):
    import edgeglass_diag as eg

    with eg.watch(out=tmp_path / "run") as watch:
        watch.log({"val/loss": 1.0}, 0)
    with pytest.raises(UsageError, match="log: expected inside of the watch's with block"):
        watch.log({"val/loss": 1.0}, 1)
    assert load(tmp_path / "run").frame("metric/val/loss").value.tolist() == [1.0]
