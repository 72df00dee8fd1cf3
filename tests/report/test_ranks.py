"""The ranks of a run in its report."""

import json

from edgeglass_diag.records import Reading, Window
from edgeglass_diag.report.figures import Album, ranks_of
from edgeglass_diag.report.report_run import Subject
from edgeglass_diag.rules.choice import header_of
from edgeglass_diag.rules.ranks_state import SettingsDiffer
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, OPTIMIZER_LR
from edgeglass_diag.signals.ranks import STATE_HELD
from edgeglass_diag.store import RunWriter, load


def written(folder, ranks):
    for rank in range(ranks):
        place = folder / f"rank-{rank}" if rank else folder
        header = {"rank": rank, "world_size": ranks} | header_of([SettingsDiffer()])
        store = RunWriter(place, name="run", header=header)
        for step in range(6):
            values = {LOSS_TOTAL: 1.0 + rank, GRADIENT_NORM: 2.0, STATE_HELD: 1.0}
            readings = [Reading(step, "", signal, (value,)) for signal, value in values.items()]
            rate = Reading(step, "group0", OPTIMIZER_LR, (1e-3 * (1 + rank),))
            store.write(Window(step, (*readings, rate)), [])
        store.finish("finished", {})
    return load(folder)


def test_the_ranks_are_drawn_beside_each_other_and_the_one_that_differs_is_named(tmp_path):
    with written(tmp_path / "run", 2) as run:
        album = Album()
        drawn = ranks_of(Subject(run, "mine"), album)
        assert drawn.kind == "ranks"
        assert "Optimizer settings differ between ranks: lr of group0" in drawn.caption
        names = {trace.get("name", "") for trace in album._figures[drawn.key]["light"]["data"]}
        for signal in ("loss/total", "gradient/norm"):
            assert {f"{signal} · rank 0", f"{signal} · rank 1"} <= names, json.dumps(sorted(names))
        assert "optimizer/lr · rank 1, group0" in names


def test_a_single_process_has_no_such_figure(tmp_path):
    with written(tmp_path / "run", 1) as run:
        assert ranks_of(Subject(run, "mine"), Album()) is None


def test_of_many_ranks_the_spread_is_drawn(tmp_path):
    with written(tmp_path / "run", 10) as run:
        album = Album()
        drawn = ranks_of(Subject(run, "mine"), album)
        names = {trace.get("name", "") for trace in album._figures[drawn.key]["light"]["data"]}
        assert "loss/total · highest of 10 ranks, last rank 9" in names
