"""Logs as trainers and trackers write them: recorded by the trackers themselves, or in their own words."""

import json
import math
import sqlite3
from pathlib import Path

import pytest

from edgeglass_diag.auditing.audit import audit_files
from edgeglass_diag.auditing.readers import read
from edgeglass_diag.auditing.readers.text_line import parse_line
from edgeglass_diag.records import UsageError
from tests.audit.recorded.record import ROWS

RECORDED = Path(__file__).parent / "recorded"


def column(logged, name):
    return [v for v in next(t.columns[name] for t in logged.tables if name in t.columns) if v is not None]


def database(folder, name):
    path = folder / f"{name}.db"
    db = sqlite3.connect(path)
    db.executescript((RECORDED / f"{name}.sql").read_text())
    db.close()
    return path


def test_mlflow_files_and_database_as_mlflow_wrote_them(tmp_path):
    for place in (RECORDED / "mlruns", database(tmp_path, "mlflow")):
        (logged,) = read(place)
        assert logged.name == "small-cnn"
        assert logged.settings == {"batch_size": 64, "lr": 1e-3, "optimizer": "adamw"}
        assert column(logged, "train/loss") == [row["train/loss"] for row in ROWS]
        assert column(logged, "val/loss")[:-1] == [row["val/loss"] for row in ROWS]
        assert math.isnan(column(logged, "val/loss")[-1])
        assert column(logged, "step") == [10 * i for i in range(13)]


def test_trackio_as_trackio_wrote_it(tmp_path):
    (logged,) = read(database(tmp_path, "trackio"))
    assert (logged.name, logged.settings["batch_size"]) == ("small-cnn", 64)
    assert column(logged, "lr") == [row["lr"] for row in ROWS]
    assert column(logged, "step") == list(range(12))


def test_another_database_or_none_is_refused(tmp_path):
    db = sqlite3.connect(tmp_path / "other.db")
    db.execute("CREATE VIEW metrics AS SELECT 1 AS run_name, 2 AS timestamp, 3 AS step, '{}' AS metrics")
    db.close()
    with pytest.raises(UsageError, match=r"other\.db: expected a database of MLflow or trackio, got one without"):
        read(tmp_path / "other.db")
    (tmp_path / "no.db").write_bytes(b"words")
    with pytest.raises(UsageError, match=r"no\.db: expected a database of MLflow or trackio, got no database of SQL"):
        read(tmp_path / "no.db")


def test_the_state_of_a_trainer_and_its_newest_checkpoint(tmp_path):
    rows = [{"loss": 2.0 - i / 10, "learning_rate": 1e-5, "epoch": i / 4, "step": 5 * i} for i in range(1, 5)]
    rows.append({"eval_loss": 1.9, "eval_runtime": 3.0, "epoch": 1.0, "step": 20})
    for step in (10, 20):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        state = {"global_step": step, "max_steps": 20, "best_metric": None, "log_history": rows[: step // 5 + 1]}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    (logged,) = read(tmp_path)
    assert (logged.name, logged.settings) == ("checkpoint-20", {"max_steps": 20})
    assert column(logged, "eval_loss") == [1.9]
    assert column(logged, "step") == [5, 10, 15, 20, 20]


def test_a_folder_of_lightning(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n0,9,1.5,\n0,9,,1.4\n")
    (tmp_path / "hparams.yaml").write_text("batch_size: 64\noptim:\n  lr: 0.001\n")
    (logged,) = read(tmp_path)
    assert logged.settings == {"batch_size": 64, "optim/lr": 0.001}
    assert column(logged, "val_loss") == [1.4]
    (tmp_path / "hparams.yaml").write_text("net: !!python/object:mine.Net {}\n")
    (logged,) = read(tmp_path)
    assert "settings are left out" in logged.notes[0]


def test_charts_of_one_run_are_one_history(tmp_path):
    for name, values in (("train/loss", (3.0, 2.0)), ("val/loss", (3.1, 2.2))):
        head = f'"Step","fox - 12 - {name}","fox - 12 - {name}__MIN","fox - 12 - {name}__MAX"\n'
        lines = "".join(f'"{10 * i}","{v}","{v}","{v}"\n' for i, v in enumerate(values))
        (tmp_path / f"{name.replace('/', '-')}.csv").write_text(head + lines)
    (one,) = audit_files(sorted(tmp_path.iterdir()))
    assert one.name == "fox - 12"
    assert one.columns == {"Step": "step", "train/loss": "train loss", "val/loss": "val loss"}


@pytest.mark.parametrize(
    ("text", "numbers", "epoch", "step"),
    [
        (
            "2026-01-02,12:00:00 | INFO | Train Epoch: 0 [  128/10000 (1%)] Data (t): 0.51 Batch (t): 1.2, 106.4/s, "
            "106.4/s/gpu LR: 0.000005 Logit Scale: 14.286 Contrastive_loss: 4.852 (4.9) Loss: 4.852 (4.9)",
            {"train/Loss": 4.852, "train/Contrastive_loss": 4.852, "LR": 5e-6, "Logit Scale": 14.286, "it/s": 106.4},
            0, 128,
        ),
        (
            "\x1b[32m2026-01-02 12:00:00.123\x1b[0m | \x1b[1mINFO    \x1b[0m | __main__:train:42 - loss=0.5 acc=81.2%",
            {"loss": 0.5, "acc %": 81.2}, None, None,
        ),
        ("{'loss': 0.53, 'grad_norm': '2.31', 'epoch': 0.1}", {"loss": 0.53, "grad_norm": 2.31}, 0.1, None),
        (
            "Epoch 3:  45%|####5     | 450/1000 [01:23<01:42,  5.36it/s, loss=0.532, v_num=0]",
            {"loss": 0.532, "it/s": 5.36}, 3, 450,
        ),
        ("step 250: train loss 2.4012, val loss nan", {"train loss": 2.4012, "val loss": math.nan}, None, 250),
        (
            "100/100 - 3s 10ms/step - accuracy: 0.8 - loss: 0.5 - val_accuracy: 0.7 - val_loss: 0.6",
            {"loss": 0.5, "val_loss": 0.6, "val_accuracy": 0.7, "step_time": 0.01}, None, None,
        ),
        (
            "Test set: Average loss: 0.0512, Accuracy: 9830/10000 (98%)",
            {"test/Average loss": 0.0512, "test/Accuracy": 0.983}, None, None,
        ),
        (
            "Epoch 4 Train Loss: 0.51, Acc: 0.80 | Val Loss: 0.40, Acc: 0.70",
            {"Train Loss": 0.51, "train/Acc": 0.8, "Val Loss": 0.4, "val/Acc": 0.7}, 4, None,
        ),
        ("INFO:root:Loading 3 shards of 128 pairs", {}, None, None),
    ],
)  # fmt: skip
def test_lines_as_programs_print_them(text, numbers, epoch, step):
    line = parse_line(text)
    assert {name: line.numbers[name] for name in numbers} == pytest.approx(numbers, nan_ok=True)
    assert (line.judged, line.epoch, line.step) == (bool(numbers), epoch, step)


def test_a_bar_with_carriage_returns_is_a_row_for_each_state(tmp_path):
    bars = "".join(f"\rEpoch 0: 10%|#| {i}/30 [00:01<00:02, 3.1it/s, loss={3 - i / 10:.2f}]" for i in range(1, 4))
    (tmp_path / "nohup.out").write_text(f"{bars}\nvalidation: loss=2.65\n")
    (logged,) = read(tmp_path / "nohup.out")
    assert column(logged, "loss") == [2.9, 2.8, 2.7]
    assert column(logged, "val/loss") == [2.65]
    assert column(logged, "step") == [1, 2, 3, 3]


def test_nan_of_an_export_is_no_nan_of_the_training(tmp_path):
    rows = [
        {"_step": i, "train/loss": 3 - i / 20, "val/loss": 3 - i / 20 if i % 5 == 4 else math.nan} for i in range(40)
    ]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (one,) = audit_files([tmp_path / "history.jsonl"])
    assert one.conclusions == ()
