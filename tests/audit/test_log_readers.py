"""Each format written by what writes it in life, and what a reader says about a bad file."""

import json
import subprocess
import sys

import pytest

from edgeglass_diag.auditing.audit import audit_files
from edgeglass_diag.auditing.readers import read
from edgeglass_diag.records import UsageError
from tests.helpers.waiting import PATIENCE

ROWS = [{"step": 10 * i, "train/loss": 5 - i, "val/R@1": i / 7} for i in range(4)]


def column(logged, name):
    return next(table.columns[name] for table in logged.tables if name in table.columns)


def test_csv_with_absent_cells(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("step,note,train_loss,val_loss\n0,a,5.0,\n10,b,,4.5\n20,c,4.0,nan\n")
    logged = read(file)[0]
    assert column(logged, "train_loss") == (5.0, None, 4.0)
    assert column(logged, "val_loss")[1] == 4.5
    assert "note" not in logged.tables[0].columns


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "step,loss\n0,1.5\n1,much\n", r"a\.csv:3: column 'loss': expected a number, got 'much'"),
        ("a.csv", "step,loss\n0,1.5,3\n", r"a\.csv:2: expected 2 cells as in the header, got 3"),
        ("a.csv", "step,loss\n", r"a\.csv: expected a header line and at least one row, got 1 lines"),
        ("a.json", '{"loss": [1,\n 2', r"a\.json:2: expected JSON, got "),
        ("a.json", '{"loss": 1}\n{"loss": 2}', r"a\.json:2: .*name it \*\.jsonl"),
        ("a.json", '{"words": "only"}', r"a\.json: expected records, columns or named histories with numbers"),
        ("a.jsonl", '{"loss": 1}\n[2]\n', r"a\.jsonl:2: expected a JSON object, got list"),
        ("a.jsonl", '{"loss": 1}\nloss\n{"loss": 2}\n', r"a\.jsonl:2: expected JSON, got Expecting value"),
        ("a.jsonl", "", r"a\.jsonl: expected one JSON object on each line, got an empty file"),
        ("a.pdf", "loss", r"a\.pdf: expected CSV or TSV, JSON, .*got a file named 'a\.pdf'"),
        ("a.txt", "loss\n", r"a\.txt: expected lines with a loss, .* as key: value or key=value, got none in 1 lines"),
        (
            "events.out.tfevents.1",
            "no events at all, words",
            r"tfevents\.1: expected an event file of TensorBoard,",
        ),
        ("run-a.wandb", "no log", r"run-a\.wandb: expected a W&B log \(':W&B'\), got a file that begins with b'no l'"),
    ],
)
def test_a_bad_file_is_named_with_its_place(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        read(tmp_path / name)


def test_bytes_that_are_no_text_and_files_that_are_not(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00loss")
    with pytest.raises(UsageError, match=r"a\.csv: expected text in UTF-8, or in UTF-16 with a byte order mark, got"):
        read(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"neither run\.json"):
        read(tmp_path)


def test_jsonl_that_was_cut_off(tmp_path):
    file = tmp_path / "history.jsonl"
    file.write_text('{"step": 0, "loss": 5.0}\n{"step": 1, "loss": 4.0}\n{"step": 2, "lo')
    logged = read(file)[0]
    assert column(logged, "loss") == (5.0, 4.0)
    assert "history.jsonl:3: the last line was cut off" in logged.notes[0]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([{"loss": 1.0}, {"loss": 2.0}], ["log"]),
        ({"loss": [1.0, 2.0], "val": {"loss": [3.0, 4.0]}, "config": {"lr": 1e-3}}, ["log"]),
        ({"a": {"loss": [1.0, 2.0]}, "b": [{"loss": 1.0}]}, ["a", "b"]),
        ({"log_history": [{"loss": 1.0, "step": 5}], "best_metric": 0.3}, ["log"]),
        ({"group": {"a": {"history": {"loss": [1.0]}}, "b": {"history": {"loss": [1.0]}}}}, ["a", "b"]),
    ],
)
def test_json_of_every_nesting(tmp_path, value, names):
    (tmp_path / "log.json").write_text(json.dumps(value))
    found = read(tmp_path / "log.json")
    assert [logged.name for logged in found] == names
    assert all(column(logged, "loss")[0] == 1.0 for logged in found)


def test_tensorboard_events_as_torch_writes_them(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path / "tb") as writer:
        for row in ROWS:
            for tag in ("train/loss", "val/R@1"):
                writer.add_scalar(tag, row[tag], row["step"])
        writer.add_text("note", "words are no scalars")
    for logged in (read(tmp_path / "tb")[0], read(next((tmp_path / "tb").iterdir()))[0]):
        assert column(logged, "step") == (0, 10, 20, 30)
        assert column(logged, "train/loss") == (5, 4, 3, 2)
        assert column(logged, "val/R@1") == pytest.approx([i / 7 for i in range(4)])


def test_tensorboard_events_that_were_cut_off(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        for step in range(5):
            writer.add_scalar("loss", 5 - step, step)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:-9])
    assert column(read(file)[0], "loss") == (5, 4, 3, 2)


OFFLINE = """
import sys, wandb
settings = wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True, silent=True)
run = wandb.init(mode="offline", project="p", dir=sys.argv[1], config={"batch_size": 128}, settings=settings)
for step in range(400):
    run.log({"train": {"loss": 5.0 - step / 100}, "lr": 1e-3, "words": "x" * 200, "bad": float("nan")})
run.finish()
"""


def test_a_wandb_log_as_wandb_writes_it(tmp_path):
    pytest.importorskip("wandb")
    subprocess.run([sys.executable, "-c", OFFLINE, str(tmp_path)], check=True, capture_output=True, timeout=PATIENCE)
    file = next(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert file.stat().st_size > 2 * 32768  # records that cross blocks
    logged = read(file.parent)[0]
    assert logged.settings["batch_size"] == 128
    assert column(logged, "train/loss") == tuple(5.0 - step / 100 for step in range(400))
    assert all(value != value for value in column(logged, "bad"))
    data = file.read_bytes()
    cut = tmp_path / "run-cut.wandb"
    cut.write_bytes(data[: len(data) // 2])
    assert 100 < len(column(read(cut)[0], "lr")) < 300
    for end in range(len(data) // 2, len(data) // 2 + 500):  # within a record's head, its content, and between two
        cut.write_bytes(data[:end])
        assert "cut off" in read(cut)[0].notes[0]
    assert not logged.notes
    cut.write_bytes(data[:500] + b"\x00\x01" + data[502:])
    with pytest.raises(UsageError, match=r"run-cut\.wandb: byte \d+: expected a record with checksum"):
        read(cut)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    for name, package in (("events.out.tfevents.1", "tensorboard"), ("run-a.wandb", "wandb")):
        for module in [each for each in sys.modules if each == package or each.startswith(f"{package}.")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, package, None)
        (tmp_path / name).write_bytes(b":W&B")
        with pytest.raises(UsageError, match=rf"not installed: pip install 'edgeglass-diag\[{package}\]'"):
            read(tmp_path / name)


def test_a_run_folder_through_the_store(tmp_path):
    from edgeglass_diag.records import Reading, Window
    from edgeglass_diag.store import RunWriter

    writer = RunWriter(tmp_path / "run", name="mine", header={"settings": {"train": {"batch_size": 64}}})
    for step in range(5):
        readings = [
            Reading(step, "group0", "optimizer/lr", (1e-3,)),
            Reading(step, "", "metric/val/loss", (5.0 - step,)),
        ]
        writer.write(Window(step, tuple(readings)))
    writer.finish("finished", {})
    logged = read(tmp_path / "run")[0]
    assert (logged.name, logged.settings) == ("mine", {"train/batch_size": 64})
    assert column(logged, "val/loss") == (5, 4, 3, 2, 1)
    assert column(logged, "lr") == (1e-3,) * 5


def test_columns_are_told_by_flags(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("objective,x\n4.0,1\n3.0,2\n")
    with pytest.raises(UsageError, match="expected a loss, recall or learning rate, got columns objective, x"):
        audit_files([file])
    assert audit_files([file], columns=["val_loss=objective"])[0].columns == {"objective": "val loss"}
    with pytest.raises(UsageError, match="no column 'other'; there are: objective, x"):
        audit_files([file], columns=["loss=other"])
    with pytest.raises(UsageError, match=r"expected a role such as loss, .* got 'mood'"):
        audit_files([file], columns=["mood=objective"])
    with pytest.raises(UsageError, match="expected ROLE=NAME, got 'loss'"):
        audit_files([file], columns=["loss"])


def test_files_of_the_same_name_stay_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "log.csv").write_text("loss\n2.0\n1.0\n")
    names = [one.name for one in audit_files([tmp_path / "a/log.csv", tmp_path / "b/log.csv"])]
    assert names == [f"{tmp_path / f}/log.csv:log" for f in ("a", "b")]
