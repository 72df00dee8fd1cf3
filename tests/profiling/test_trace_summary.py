"""Where the time of a step goes, read from traces written by hand."""

from __future__ import annotations

import json

import pytest

from edgeglass_diag.profiling.intervals import clipped, minus, total, union
from edgeglass_diag.profiling.summary import PHASES, summarise


def span(name, start, end, cat="user_annotation", tid=1):
    return {"ph": "X", "name": name, "ts": start, "dur": end - start, "cat": cat, "pid": 9, "tid": tid}


STEP = [
    span("ProfilerStep#4", 0, 100),
    span("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", 0, 10),
    span("Optimizer.zero_grad#SGD.zero_grad", 10, 12),
    span("edgeglass_diag: forward without gradients", 12, 20),
    span("edgeglass_diag: forward", 20, 40),
    span("edgeglass_diag: recorder", 30, 34),
    span("aten::mm", 22, 29, "cpu_op"),
    span("aten::sum", 31, 33, "cpu_op"),
    span("edgeglass_diag: recorder", 45, 46),
    span("edgeglass_diag: backward", 50, 80),
    span("aten::mul", 51, 61, "cpu_op"),
    span("aten::mm", 52, 55, "cpu_op"),
    span("aten::add", 52, 70, "cpu_op", tid=2),
    span("Optimizer.step#SGD.step", 82, 95),
    span("edgeglass_diag: recorder", 90, 94),
]


def trace(folder, name, spans):
    file = folder / name
    file.write_text(json.dumps({"traceEvents": [{"ph": "M", "name": "process_name"}, *spans]}))
    return file


def test_each_moment_has_one_phase_and_they_add_up_to_the_step(tmp_path):
    found = summarise([trace(tmp_path, "a.pt.trace.json", STEP)])
    times = {name: round(1e6 * entry["seconds"]) for name, entry in found["phases"].items()}
    # forward: 12 to 50, as the loss between it and the backward pass belongs to it, less 5 of the recorder
    assert times == {"data wait": 10, "forward": 33, "backward": 30, "optimizer": 11, "recorder": 9, "other": 7}
    assert sum(entry["share"] for entry in found["phases"].values()) == pytest.approx(1)
    assert (found["steps"], found["data_seen"], list(found["phases"])) == (1, True, list(PHASES))


def test_operators_have_their_own_time_and_ours_are_not_among_them(tmp_path):
    found = summarise([trace(tmp_path, "a.pt.trace.json", STEP)])
    own = {entry["name"]: (entry["calls"], round(1e6 * entry["seconds"])) for entry in found["operators"]}
    assert own == {"aten::add": (1, 18), "aten::mm": (2, 10), "aten::mul": (1, 7)}


def test_processes_and_steps_are_averaged(tmp_path):
    later = [{**entry, "ts": entry["ts"] + 100} for entry in STEP]
    later[0] = span("ProfilerStep#5", 100, 300)
    files = [trace(tmp_path, "a.pt.trace.json", [*STEP, *later]), trace(tmp_path, "b.pt.trace.json", STEP)]
    found = summarise(files)
    assert (found["steps"], [row["step"] for row in found["per_step"]]) == (3, [4, 5, 4])
    assert 1e6 * found["step_seconds"] == pytest.approx(400 / 3)
    assert 1e6 * found["phases"]["other"]["seconds"] == pytest.approx((7 + 107 + 7) / 3)


def test_an_invalid_trace_raises(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not a trace of torch.profiler: .*x\.json"):
        summarise([tmp_path / "x.json"])
    with pytest.raises(ValueError, match="no whole optimizer step in no trace"):
        summarise([])
    with pytest.raises(ValueError, match="no whole optimizer step in"):
        summarise([trace(tmp_path, "a.pt.trace.json", STEP[1:])])


def test_sets_of_moments():
    assert minus([(0, 10), (20, 30)], [(2, 3), (2.5, 4), (9, 22), (29, 40)]) == [(0, 2), (4, 9), (22, 29)]
    assert minus([(0, 1)], []) == [(0, 1)]
    assert minus([], [(0, 1)]) == []
    assert union([(1, 2), (2, 3), (5, 5)]) == [(1, 3)]
    assert total(clipped([(0, 5), (8, 9)], (4, 8))) == 1
