"""What is written to trackers is read back by their own readers, and equals the record; nothing leaves the machine."""

import os
import random
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import edgeglass_diag as eg
from edgeglass_diag.auditing.readers.wandb_log import _frames, read_wandb
from edgeglass_diag.exporting import export_run
from edgeglass_diag.sinks import TARGETS
from edgeglass_diag.sinks.mlflow import key
from tests.helpers.exported import assert_same, numbers, recorded
from tests.helpers.waiting import until


def needs(*packages):
    missing = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("runs") / "mine")


def exported(record, name, out):
    """Export, which draws no random number of the program's."""
    before = random.getstate(), np.random.get_state()[1].tolist()
    with eg.load(record) as run:
        [written] = export_run(run, TARGETS[name], out)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    return written


def log_records(log):
    from wandb.proto.wandb_internal_pb2 import Record

    return [Record.FromString(data) for data in _frames(log, [])]


@needs("wandb")
@pytest.mark.long
def test_wandb_offline_equals_the_record(record, tmp_path):
    exported(record, "wandb", tmp_path / "out")
    [log] = (tmp_path / "out").glob("wandb/offline-run-*/run-*.wandb")
    ended = until(lambda: [each for each in log_records(log) if each.HasField("exit")], "wandb has written the end")
    assert len(ended) == 1
    [table] = read_wandb(log).tables
    steps = [int(step) for step in table.columns["step"]]
    wanted = numbers(record)
    got = {
        (name, step): value
        for name, column in table.columns.items()
        for step, value in zip(steps, column, strict=True)
        if (name, step) in wanted
    }
    assert_same(got, wanted)
    alerts = [each.alert for each in log_records(log) if each.HasField("alert")]
    assert [alert.title for alert in alerts] == [
        "EG801 non-finite", "EG101 uniform at image.attention#1", "EG101 uniform at text[:64]",
    ]  # fmt: skip
    assert [alert.level for alert in alerts] == ["ERROR", "WARN", "INFO"]
    assert alerts[0].text == "step 1: The loss is NaN\n\nFix: Lower it"


@needs("wandb")
@pytest.mark.long
def test_wandb_is_offline_where_it_knows_no_key_and_nobody_says_otherwise(tmp_path):
    code = "from edgeglass_diag.sinks.wandb import _mode; print(_mode())"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    plain |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), "WANDB_CONFIG_DIR": str(tmp_path)}

    def mode(**more):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=plain | more, check=True
        )
        return done.stdout.strip()

    assert mode() == "offline"
    assert mode(WANDB_API_KEY="0" * 40) == "None"
    assert mode(WANDB_MODE="disabled") == "None"


@needs("mlflow", "sqlalchemy", "alembic")
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow's tables
def test_mlflow_equals_the_record(record, tmp_path):
    from mlflow.tracking import MlflowClient

    exported(record, "mlflow", tmp_path / "out")
    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("edgeglass-diag").experiment_id])
    got = {
        (name, each.step): each.value
        for name in run.data.metrics
        for each in client.get_metric_history(run.info.run_id, name)
    }
    largest = sys.float_info.max
    wanted = {
        (key(name), step): max(-largest, min(largest, value)) if value == value else value
        for (name, step), value in numbers(record).items()
    }
    assert_same(got, wanted)
    assert run.info.run_name == "mine"
    assert run.info.status == "FINISHED"
    assert run.data.tags["finding/EG801"] == "critical at step 1: The loss is NaN\n\nFix: Lower it"
    assert run.data.tags["finding/EG101 at text:5b::3a:64:5d:"] == "info at step 5: Uniform, too"


TRACKIO = """
import sys
from pathlib import Path
import edgeglass_diag as eg
from edgeglass_diag.exporting import export_run
from edgeglass_diag.sinks import TARGETS
from tests.helpers.exported import assert_same, numbers

with eg.load(sys.argv[1]) as run:
    export_run(run, TARGETS["trackio"], Path(sys.argv[2]))
assert "gradio" not in sys.modules

import trackio
from trackio.sqlite_storage import SQLiteStorage

[run] = trackio.Api().runs("edgeglass-diag")
logs = SQLiteStorage.get_logs("edgeglass-diag", run.name, run_id=run.id)
got, spreads = {}, {}
for row in logs:
    for name, value in row.items():
        if name.startswith("histogram/"):
            spreads[name, row["step"]] = value
        elif "/" in name:
            got[name, row["step"]] = value
assert_same(got, numbers(sys.argv[1]))
assert sum(spreads["histogram/attention/entropy/image.attention#1", 10]["values"]) == 3
for alert in sorted(run.alerts(), key=lambda alert: alert["title"]):
    print(alert["level"], alert["step"], alert["title"])
"""


@needs("trackio")
@pytest.mark.long
def test_trackio_equals_the_record(record, tmp_path):
    """In a process of its own, as trackio keeps the folder of its first import."""
    command = [sys.executable, "-c", TRACKIO, str(record), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == [
        "warn 5 EG101 uniform at image.attention#1", "info 5 EG101 uniform at text[:64]", "error 1 EG801 non-finite",
    ], done.stderr  # fmt: skip


TWO_RANKS = """
import sys
from pathlib import Path
import edgeglass_diag as eg
from edgeglass_diag.exporting import export_run
from edgeglass_diag.sinks import TARGETS

with eg.load(sys.argv[1]) as run:
    first, second = export_run(run, TARGETS[sys.argv[3]], Path(sys.argv[2]))
assert first.place == second.place, (first, second)
if sys.argv[3] == "trackio":
    import trackio
    names = [run.name for run in trackio.Api().runs("edgeglass-diag")]
else:
    from mlflow.tracking import MlflowClient
    client = MlflowClient(first.place)
    experiments = [each.experiment_id for each in client.search_experiments()]
    names = [run.info.run_name for run in client.search_runs(experiments)]
print(sorted(names))
"""


@needs("trackio", "mlflow", "sqlalchemy", "alembic")
@pytest.mark.long
@pytest.mark.parametrize("name", ["trackio", "mlflow"])
def test_ranks_are_runs_in_one_place(name, tmp_path):
    for rank, folder in enumerate(("run", "run/rank-1")):
        recorded(tmp_path / folder, embeddings=False, rank=rank)
    command = [sys.executable, "-c", TWO_RANKS, str(tmp_path / "run"), str(tmp_path / "out"), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[-1:] == ["['rank-1', 'run']"], done.stderr


@needs("embedding_atlas")
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::Warning")  # of UMAP on few rows
def test_embedding_atlas_opens_the_table(record, tmp_path):
    from embedding_atlas.projection import compute_projection
    from embedding_atlas.utils import load_pandas_data

    exported(record, "embedding-atlas", tmp_path / "out")
    frame = load_pandas_data(str(tmp_path / "out" / "embeddings.parquet")).query("is_finite")
    assert len(frame) == 46
    projected = compute_projection(frame, modality="vector", inputs="embedding", cache_root=tmp_path / "cache")
    assert projected[["projection_x", "projection_y"]].notna().all().all()


@pytest.mark.parametrize("name", ["a" * 300, "a#1", "a:23:1", "ü/b c-d.e_f"])
def test_names_for_mlflow_are_taken_by_it_and_differ(name):
    assert len(key(name)) <= 250
    assert key(name) != key(name + "#")
