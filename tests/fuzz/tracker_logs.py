"""Logs of trainers and trackers for ``audit``: text, trainer_state.json, MLflow's files and database, trackio, W&B."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from tests.fuzz.inputs import Input
from tests.fuzz.logs import columns, judged, log_reader, tree
from tests.fuzz.mutations import TOKENS, mutated

_CLOCKS = ("step", "epoch", "timestamp", "n", "note")
_PLAIN = ("train_loss", "val_loss", "lr", "grad_norm", "val_acc", "logit_scale")
Held = dict[str, list[float]]


def _held(random: Random) -> Held:
    """Return columns without clocks, which the readers make themselves."""
    found = {name: values for name, values in columns(random).items() if name not in _CLOCKS}
    return {name: [0.0 if v == 0 else v for v in values] for name, values in found.items()}


def _rows(held: Held) -> list[dict[str, float]]:
    return [dict(zip(held, row, strict=True)) for row in zip(*held.values(), strict=True)]


def _expected(held: Held, **clocks: list[float]) -> Any:
    return None if judged(held) is None else {**held, **clocks}


def text_log(random: Random) -> Input:
    """Return lines of a logger with their numbers; half of them with tokens in between."""
    length = len(next(iter(columns(random).values())))
    held = {name: [random.uniform(0, 9) for _ in range(length)] for name in random.sample(_PLAIN, random.randint(1, 6))}
    mark = random.choice(("=", ": "))
    lines = [
        f"2026-01-02 03:04:05,678 - INFO - step{mark}{step}{random.choice((' ', ', ', ' | '))}"
        + random.choice((" ", ", ", " | ")).join(f"{name}{mark}{v!r}" for name, v in row.items())
        for step, row in enumerate(_rows(held))
    ]
    clocks = {"step": [float(step) for step in range(length)], "timestamp": [1767323045.678] * length}
    expected: Any = held | clocks
    if random.random() < 0.5:
        lines.insert(random.randrange(len(lines) + 1), random.choice(TOKENS) + random.choice(("", "loss: ", "|3/")))
        expected = None
    content = random.choice(("\n", "\r", "\r\n")).join(lines) + "\n"
    return Input({"train.log": content.encode("utf-8", "replace")}, ("audit", "train.log"), expected)


def state(random: Random) -> Input:
    """Return the state of a Trainer with its rows, or with any tree in it."""
    held = columns(random)
    value: dict[str, Any] = {"global_step": 3, "max_steps": 10, "log_history": _rows(held)}
    expected: Any = judged(held)
    if random.random() < 0.5:
        value[random.choice(("global_step", "max_steps", "log_history"))] = tree(random)
        expected = None
    return Input({"trainer_state.json": json.dumps(value).encode()}, ("audit", "trainer_state.json"), expected)


def mlflow_files(random: Random) -> Input:
    """Return the files of a run of MLflow with its numbers; half of them with odd lines."""
    held = _held(random)
    files = {"run/meta.yaml": b"run_name: a\n", "run/params/batch_size": b"64"}
    for name, values in held.items():
        files[f"run/metrics/{name}"] = "".join(f"{1000 * i} {v!r} {i}\n" for i, v in enumerate(values)).encode()
    steps = [float(i) for i in range(len(next(iter(held.values()))))]
    expected = _expected(held, step=steps, timestamp=steps)
    if random.random() < 0.5:
        files[random.choice(list(files))] += random.choice(TOKENS).encode("utf-8", "replace") + b" 1 2\n"
        expected = None
    return Input(files, ("audit", "run"), expected)


_MLFLOW = (
    "CREATE TABLE runs (run_uuid TEXT, name TEXT); INSERT INTO runs VALUES ('r', 'a');"
    "CREATE TABLE params (run_uuid TEXT, key TEXT, value TEXT); INSERT INTO params VALUES ('r', 'batch_size', '64');"
    "CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN);"
)
_TRACKIO = (
    "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT);"
    "CREATE TABLE configs (run_name TEXT, config TEXT);"
)
_LARGEST = 1.7976931348623157e308


def _database(script: str, insert: str, rows: list[tuple[Any, ...]]) -> bytes:
    db = sqlite3.connect(":memory:")
    db.executescript(script)
    db.executemany(insert, rows)
    db.commit()
    made = db.serialize()
    db.close()
    return made


def mlflow_database(random: Random) -> Input:
    """Return the database of MLflow with its numbers; half of them with a value of another kind."""
    held = _held(random)
    rows: list[tuple[Any, ...]] = [
        (name, 0.0 if math.isnan(v) else max(-_LARGEST, min(_LARGEST, v)), 1000 * i, "r", i, math.isnan(v))
        for name, values in held.items()
        for i, v in enumerate(values)
    ]
    steps = [float(i) for i in range(len(next(iter(held.values()))))]
    expected = _expected(held, step=steps, timestamp=steps)
    if random.random() < 0.5:
        at = random.randrange(len(rows))
        odd = (None, "words", b"\xff\x00", 2**62, -1, 1e308)
        rows[at] = tuple(random.choice((value, value, random.choice(odd))) for value in rows[at])
        expected = None
    content = _database(_MLFLOW, "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    return Input({"mlflow.db": content}, ("audit", "mlflow.db"), expected)


def trackio_database(random: Random) -> Input:
    """Return the database of trackio with its numbers; half of them with any tree for a row."""
    held = _held(random)
    rows = [("2026-01-02T03:04:05+00:00", "a", i, json.dumps(row)) for i, row in enumerate(_rows(held))]
    steps = [float(i) for i in range(len(rows))]
    expected = _expected(held, step=steps, timestamp=[1767323045.0] * len(rows))
    if random.random() < 0.5:
        at = random.randrange(len(rows))
        rows[at] = (random.choice(TOKENS).replace("\0", ""), "a", at, json.dumps(tree(random)))
        expected = None
    insert = "INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)"
    return Input({"project.db": _database(_TRACKIO, insert, rows)}, ("audit", "project.db"), expected)


def charts(random: Random) -> Input:
    """Return a chart of W&B's pages; half of them with changed bytes."""
    held = _held(random)
    names = [f'"a - {name}{end}"' for name in held for end in ("", "__MIN", "__MAX")]
    lines = [",".join(['"Step"', *names])]
    for step, row in enumerate(_rows(held)):
        lines.append(",".join([f'"{step}"', *(f'"{v!r}"' for v in row.values() for _ in range(3))]))
    content = ("\n".join(lines) + "\n").encode()
    expected = _expected(held, Step=[float(i) for i in range(len(lines) - 1)])
    if random.random() < 0.5:
        content, expected = mutated(random, content, [content]), None
    return Input({"chart.csv": content}, ("audit", "chart.csv"), expected)


def _seeds(make: Callable[[Random], Input]) -> Callable[[], list[Input]]:
    return cache(lambda: [make(Random(number)) for number in range(8)])


TRACKER_LOGS = tuple(
    log_reader(f"log: {name}", file, _seeds(make), make)
    for name, file, make in (
        ("text", "train.log", text_log),
        ("trainer state", "trainer_state.json", state),
        ("MLflow files", "run", mlflow_files),
        ("MLflow database", "mlflow.db", mlflow_database),
        ("trackio", "project.db", trackio_database),
        ("W&B chart", "chart.csv", charts),
    )
)
