"""A drawn training written in six formats, in the idioms of what writes it; each returns what is given to audit."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.audit.drawn.shapes import Random, Training, pick

Row = dict[str, float]
_BEGINNING = datetime(2026, 3, 14, 9, 26, 53)


def rows(training: Training) -> Iterator[tuple[str, int, float, float, Row]]:
    """Yield split, step, epoch, seconds and numbers of each row; an evaluation follows its training row."""
    at = {int(row): index for index, row in enumerate(training.evaluated_at)}
    for index, step in enumerate(training.steps):
        epoch = float(step) / training.per_epoch
        time = float(index) if training.seconds is None else float(training.seconds[index])
        numbers = {name: _rounded(name, v[index], training) for name, v in training.columns.items()}
        yield "train", int(step), epoch, time, numbers
        if index in at:
            found = {name: _rounded(name, v[at[index]], training) for name, v in training.evaluations.items()}
            yield "val", int(step), epoch, time, found


def _rounded(name: str, value: float, training: Training) -> float:
    digits = training.digits if not name.startswith("lr") and "@" not in name else 16
    return round(float(value), max(digits, 4) if name == "acc" else digits)


def trainer_state(training: Training, folder: Path, random: Random) -> list[Path]:
    """``trainer_state.json`` of transformers."""
    names = {"lr": "learning_rate", "acc": "mean_token_accuracy"}
    history: list[dict[str, Any]] = []
    for split, step, epoch, _, numbers in rows(training):
        clock = {"epoch": round(epoch, 4), "step": step}
        if split == "train":
            history.append({**{names.get(name, name): v for name, v in numbers.items()}, **clock})
        else:
            named = {f"eval_{'accuracy' if name == 'acc' else name}": v for name, v in numbers.items()}
            history.append({**named, "eval_runtime": 3.2, "eval_samples_per_second": 310.5, **clock})
    history.append(
        {"epoch": round(epoch, 4), "step": step, "total_flos": 1.2e15, "train_loss": 1.0, "train_runtime": 9}
    )
    state = {"best_metric": None, "epoch": epoch, "global_step": step, "is_world_process_zero": True, "max_steps": step}
    state |= {"log_history": history, "logging_steps": 10, "num_train_epochs": 3, "trial_params": None}
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=2))
    return [folder / "trainer_state.json"]


def lightning(training: Training, folder: Path, random: Random) -> list[Path]:
    """``metrics.csv`` and ``hparams.yaml`` of Lightning's CSVLogger."""
    suffix = pick(random, "", "_step")
    names = {"lr": "lr-AdamW", "loss": f"train_loss{suffix}", "acc": f"train_acc{suffix}"}
    table: list[dict[str, Any]] = []
    for split, step, epoch, _, numbers in rows(training):
        named = names if split == "train" else {name: f"val_{name}" for name in numbers}
        table.append({"epoch": int(epoch), "step": step, **{named.get(name, name): v for name, v in numbers.items()}})
    fields = sorted({name for row in table for name in row})
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, restval="")
        writer.writeheader()
        writer.writerows(table)
    (folder / "hparams.yaml").write_text("".join(f"{name}: {v}\n" for name, v in training.settings.items()))
    return [folder]


def plain_text(training: Training, folder: Path, random: Random) -> list[Path]:
    """What scripts print: logging, loguru, tqdm with carriage returns and colour, dictionaries."""
    write = pick(random, _logging, _loguru, _tqdm, _dictionaries)
    text = "Namespace(batch_size=64)\nLoading data from 3 shards ...\n" + "".join(write(training))
    (folder / "train.log").write_text(text)
    return [folder / "train.log"]


def _words(value: float, name: str) -> str:
    return f"{value:.6e}" if name == "lr" else repr(value) if math.isfinite(value) else str(value)


def _logging(training: Training) -> Iterator[str]:
    for split, step, epoch, time, numbers in rows(training):
        stamp = (_BEGINNING + timedelta(seconds=time)).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        pairs = ", ".join(f"{name}: {_words(v, name)}" for name, v in numbers.items())
        yield f"{stamp} - INFO - {split} - epoch {int(epoch)} step {step} - {pairs}\n"


def _loguru(training: Training) -> Iterator[str]:
    for split, step, epoch, time, numbers in rows(training):
        stamp = (_BEGINNING + timedelta(seconds=time)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        pairs = " ".join(f"{split}_{name}={_words(v, name)}" for name, v in numbers.items())
        yield f"\x1b[32m{stamp}\x1b[0m | \x1b[1mINFO    \x1b[0m | \x1b[36m__main__\x1b[0m:\x1b[36mfit\x1b[0m:\x1b[36m88"
        yield f"\x1b[0m - \x1b[1mepoch={epoch:.2f} step={step} {pairs}\x1b[0m\n"


def _tqdm(training: Training) -> Iterator[str]:
    epoch = -1
    for split, step, _, _, numbers in rows(training):
        if split == "val":
            yield "\nvalidation: " + ", ".join(f"{name}={_words(v, name)}" for name, v in numbers.items()) + "\n"
            continue
        within = (step - 1) % training.per_epoch + 1
        pairs = ", ".join(f"{name}={_words(v, name)}" for name, v in numbers.items())
        yield ("\n" if int((step - 1) // training.per_epoch) != epoch else "\r")
        epoch = int((step - 1) // training.per_epoch)
        yield f"Epoch {epoch}:  12%|█▏        | {within}/{training.per_epoch} [00:12<01:03,  3.14it/s, {pairs}]"
    yield "\n"


def _dictionaries(training: Training) -> Iterator[str]:
    for split, step, epoch, _, numbers in rows(training):
        prefix = "" if split == "train" else "eval_"
        yield (
            str({**{f"{prefix}{name}": v for name, v in numbers.items()}, "epoch": round(epoch, 3), "step": step})
            + "\n"
        )


def mlflow(training: Training, folder: Path, random: Random) -> list[Path]:
    """MLflow's files, or its database."""
    points = [
        (f"{split}_{name}", int(1000 * time) + 1_700_000_000_000, value, step)
        for split, step, _, time, numbers in rows(training)
        for name, value in numbers.items()
    ]
    return (_mlflow_files if random.random() < 0.5 else _mlflow_database)(training, folder, points)


def _mlflow_files(training: Training, folder: Path, points: list[tuple[str, int, float, int]]) -> list[Path]:
    run = folder / "mlruns" / "123" / "0a1b2c"
    for part in ("metrics", "params"):
        (run / part).mkdir(parents=True)
    (run / "meta.yaml").write_text("run_name: brave-fox-12\nstatus: 3\n")
    for name, value in training.settings.items():
        (run / "params" / name).write_text(str(value))
    lines: dict[str, list[str]] = {}
    for key, time, value, step in points:
        lines.setdefault(key, []).append(f"{time} {value!r} {step}\n")
    for key, found in lines.items():
        (run / "metrics" / key).write_text("".join(found))
    return [folder / "mlruns"]


def _mlflow_database(training: Training, folder: Path, points: list[tuple[str, int, float, int]]) -> list[Path]:
    db = sqlite3.connect(folder / "mlflow.db")
    db.executescript(
        "CREATE TABLE runs (run_uuid VARCHAR(32), name VARCHAR(250));"
        "CREATE TABLE metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32), step BIGINT,"
        " is_nan BOOLEAN);"
        "CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));"
        "INSERT INTO runs VALUES ('r', 'brave-fox-12');"
    )
    rows = [(key, _held(value), time, "r", step, math.isnan(value)) for key, time, value, step in points]
    db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    db.executemany("INSERT INTO params VALUES (?, ?, 'r')", [(k, str(v)) for k, v in training.settings.items()])
    db.commit()
    db.close()
    return [folder / "mlflow.db"]


def _held(value: float) -> float:
    return 0.0 if math.isnan(value) else float(np.clip(value, -1.7976931348623157e308, 1.7976931348623157e308))


def trackio(training: Training, folder: Path, random: Random) -> list[Path]:
    """The database of a project of trackio."""
    db = sqlite3.connect(folder / "project.db")
    db.execute(
        "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)"
    )
    db.execute("CREATE TABLE configs (id INTEGER PRIMARY KEY, run_name TEXT, config TEXT, created_at TEXT)")
    for split, step, epoch, time, numbers in rows(training):
        stamp = (_BEGINNING + timedelta(seconds=time)).isoformat()
        held = {f"{split}/{name}": v if math.isfinite(v) else str(v) for name, v in numbers.items()} | {"epoch": epoch}
        db.execute(
            "INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, 'run', ?, ?)",
            (stamp, step, json.dumps(held)),
        )
    db.execute(
        "INSERT INTO configs (run_name, config, created_at) VALUES ('run', ?, '')", (json.dumps(training.settings),)
    )
    db.commit()
    db.close()
    return [folder / "project.db"]


def wandb(training: Training, folder: Path, random: Random) -> list[Path]:
    """Exports of W&B: a chart of each metric as CSV, or the history as JSON lines or CSV of pandas."""
    return pick(random, _charts, _history_lines, _history_table)(training, folder)


def _charts(training: Training, folder: Path) -> list[Path]:
    found: dict[str, list[tuple[int, float]]] = {}
    for split, step, _, _, numbers in rows(training):
        for name, value in numbers.items():
            found.setdefault(f"{split}/{name}", []).append((step, value))
    for number, (name, points) in enumerate(found.items()):
        head = f'"Step","brave-fox-12 - {name}","brave-fox-12 - {name}__MIN","brave-fox-12 - {name}__MAX"\n'
        cells = [(step, "NaN" if math.isnan(v) else v) for step, v in points]
        lines = "".join(f'"{step}","{v}","{v}","{v}"\n' for step, v in cells)
        (folder / f"wandb_export_{number}.csv").write_text(head + lines)
    return sorted(folder.glob("*.csv"))


def _history(training: Training) -> list[dict[str, Any]]:
    found = []
    for split, step, epoch, time, numbers in rows(training):
        named = {f"{split}/{name}": v for name, v in numbers.items()}
        found.append({"_step": step, "_runtime": time, "_timestamp": 1.7e9 + time, "epoch": epoch, **named})
    return found


def _history_lines(training: Training, folder: Path) -> list[Path]:
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _history(training)))
    return [folder / "history.jsonl"]


def _history_table(training: Training, folder: Path) -> list[Path]:
    found = _history(training)
    names = list(dict.fromkeys(name for row in found for name in row))
    lines = [",".join(["", *names])]
    lines += [",".join([str(i), *(str(row.get(name, "")) for name in names)]) for i, row in enumerate(found)]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    return [folder / "history.csv"]


FORMATS: dict[str, Callable[[Training, Path, Random], list[Path]]] = {
    "trainer_state.json": trainer_state,
    "Lightning CSV": lightning,
    "text": plain_text,
    "MLflow": mlflow,
    "trackio": trackio,
    "W&B export": wandb,
}
