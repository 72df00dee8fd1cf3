"""Programs that report live under ``run``: one process, and two ranks, of which the first reports."""

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import edgeglass_diag as eg
from edgeglass_diag.exporting import export_run
from edgeglass_diag.sinks import TARGETS
from tests.helpers.exported import assert_same, numbers
from tests.helpers.program_runs import CLIP

RANKS = (
    CLIP
    + """
    import os
    import torch.distributed as dist
    dist.init_process_group("gloo")
    torch.manual_seed(int(os.environ["RANK"]))
    model = nn.parallel.DistributedDataParallel(Clip())
    train(model, 4)
    del model
    dist.destroy_process_group()
"""
)


def event_numbers(folder):
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {(tag, event.step): event.value for tag in read.Tags()["scalars"] for event in read.Scalars(tag)}


def test_a_program_reports_while_it_runs(programs):
    programs.write("train.py", CLIP + "    train(Clip(), 4)")
    done = programs.copied("train.py", own=("--report-to", "tensorboard"))
    assert done.returncode == 0, done.stderr
    wanted = {name: np.float32(value) for name, value in numbers(programs.folder / "run").items()}
    assert_same(event_numbers(programs.folder / "run" / "tensorboard"), wanted)


def test_what_is_no_live_sink_is_one_line(programs):
    programs.write("train.py", "raise SystemExit(5)")
    done = programs.copied("train.py", own=("--report-to", "csv"))
    expected = "edgeglass-diag: --report-to: expected one of tensorboard, wandb, mlflow, trackio, got 'csv'\n"
    assert (done.returncode, done.stderr) == (2, expected)


@pytest.mark.long
def test_rank_0_reports_and_export_writes_both(programs, tmp_path):
    programs.write("train.py", RANKS)
    launcher = ("torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    done = programs.watched("-m", *launcher, "train.py", own=("--report-to", "tensorboard"))
    assert done.returncode == 0, done.stderr
    assert "nothing more is reported" not in done.stderr
    ranks = {rank: programs.folder / "run" / f"rank-{rank}" for rank in (0, 1)}
    wanted = numbers(ranks[0])
    assert_same(event_numbers(ranks[0] / "tensorboard"), {name: np.float32(value) for name, value in wanted.items()})
    assert not (ranks[1] / "tensorboard").exists()

    with eg.load(programs.folder / "run") as run:
        written = export_run(run, TARGETS["csv"], tmp_path / "out")
    assert [part.name for part in written] == [f"run/rank-{rank}" for rank in (0, 1)]
    for rank in (0, 1):
        frame = pd.read_csv(tmp_path / "out" / f"rank-{rank}" / "signals.csv", keep_default_na=False)
        assert frame.signal.eq("loss/total").sum() == 4
