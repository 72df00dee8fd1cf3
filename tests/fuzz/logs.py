"""Logs of numbers for ``audit``: CSV and TSV, JSON, JSON lines, TensorBoard events, W&B offline logs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.command_line import run
from tests.fuzz.inputs import Input, Reader
from tests.fuzz.mutations import NUMBERS, TOKENS
from tests.helpers.audit_logs import OURS, PUBLISHED

NAMES = (
    "step",
    "epoch",
    "train_loss",
    "val_loss",
    "val/clip",
    "loss",
    "i2t_R@1",
    "i2t_R@5",
    "t2i_R@10",
    "lr",
    "n",
    "batch_size",
    "logit_scale",
    "temperature",
    "accuracy",
    "note",
    "recall",
    "val_R@1 (%)",
    "Train Loss",
    "best_val_loss",
    "scale",
)
SETTINGS = (
    "batch_size",
    "lr",
    "epochs",
    "steps_per_epoch",
    "warmup_steps",
    "clip_weight",
    "mrl_weight",
    "n",
    "total_steps",
    "max_lr",
)
ODD = (
    float("nan"),
    float("inf"),
    -float("inf"),
    0.0,
    -0.0,
    5e-324,
    1e-310,
    1.7e308,
    -1.7e308,
    1e15,
    0.1,
    1 / 3,
    -1.0,
    1e-300,
)


def value(random: Random) -> float:
    """Return a number as logs have it, seldom an odd one."""
    kind = random.randrange(8)
    if kind == 0:
        return random.choice(ODD)
    if kind == 1:
        return float(random.randint(0, 10 ** random.choice((1, 3, 9))))
    if kind == 2:
        return round(random.uniform(0, 7), random.choice((1, 2, 4, 6)))
    return random.uniform(0, 5) * 10.0 ** random.choice((0, 0, 0, -1, -4, -9, 3))


def judged(held: dict[str, list[float]]) -> dict[str, list[float]] | None:
    """Return the numbers that must be read; None where a size is above what a log is judged by."""
    return None if any(1e100 < abs(v) < math.inf for values in held.values() for v in values) else held


def columns(random: Random) -> dict[str, list[float]]:
    """Return columns of one length, one of them a loss."""
    names = ["val_loss", *random.sample(NAMES, random.randint(0, 6))]
    rows = random.choice((1, 2, 3, 10, 40))
    return {name: [value(random) for _ in range(rows)] for name in dict.fromkeys(names)}


def table(random: Random, delimiter: str, name: str) -> Input:
    """Return a table as it is written by csv, with the numbers it holds; or one with cells that are none."""
    held = columns(random)
    lines = [list(held), *([repr(v) for v in row] for row in zip(*held.values(), strict=True))]
    expected: Any = judged(held)
    if random.random() < 0.5:
        expected = None
        for _ in range(random.randint(1, 4)):
            row = random.choice(lines)
            row[random.randrange(len(row))] = random.choice(TOKENS)
    end = random.choice(("\n", "\r\n"))
    text = end.join(delimiter.join(row) for row in lines) + random.choice(("", end))
    return Input({name: random.choice((b"", b"\xef\xbb\xbf")) + text.encode()}, ("audit", name), expected)


def _scalar(random: Random) -> Any:
    return random.choice(
        (value(random), None, True, "words", "nan", [], {}, 10**400, -(10**400), "1e5", 2**63, [1, "a"])
    )


def tree(random: Random, depth: int = 0) -> Any:
    """Return nested mappings and lists, with the names that logs have."""
    kind = random.randrange(6)
    if depth > 4 or kind == 0:
        return _scalar(random)
    if kind == 1:
        return [value(random) for _ in range(random.randint(0, 5))]
    if kind == 2:
        return [tree(random, depth + 1) for _ in range(random.randint(0, 4))]
    names = (
        *NAMES,
        *SETTINGS,
        "history",
        "config",
        "train",
        "val",
        "report",
        "steps",
        "first",
        "last",
        "lr_of_epoch",
        "x",
    )
    return {random.choice(names): tree(random, depth + 1) for _ in range(random.randint(1, 6))}


def config(random: Random) -> dict[str, Any]:
    """Return settings, odd ones too."""
    odd = (64, 128.0, 0, -1, float("inf"), float("nan"), 1e308, 10**400, True, "adamw", None, [1], 0.5, 5e-324)
    return {name: random.choice(odd) for name in random.sample(SETTINGS, random.randint(0, 6))}


def json_log(random: Random) -> Input:
    """Return columns or records with their numbers, or any tree."""
    held = columns(random)
    kind = random.randrange(4)
    records = [dict(zip(held, row, strict=True)) for row in zip(*held.values(), strict=True)]
    if kind == 0:
        return Input({"log.json": json.dumps(records).encode()}, ("audit", "log.json"), judged(held))
    if kind == 1:
        return Input({"log.json": json.dumps(held).encode()}, ("audit", "log.json"), judged(held))
    content = {"config": config(random), "history": records} if kind == 2 else tree(random)
    return Input({"log.json": json.dumps(content).encode()}, ("audit", "log.json"))


def json_lines(random: Random) -> Input:
    """Return records on lines with their numbers, or records of any tree."""
    held = columns(random)
    records: list[Any] = [dict(zip(held, row, strict=True)) for row in zip(*held.values(), strict=True)]
    expected: Any = judged(held)
    if random.random() < 0.5:
        records[random.randrange(len(records))] = tree(random)
        expected = None
    text = "\n".join(json.dumps(record) for record in records) + "\n"
    return Input({"log.jsonl": text.encode()}, ("audit", "log.jsonl"), expected)


def read_columns(name: str, folder: Path) -> dict[str, list[float]]:
    """Return all columns that the audit reads in a log."""
    from edgeglass_diag.auditing.readers import read

    (logged,) = read(folder / name)
    return {name: list(values) for table in logged.tables for name, values in table.columns.items()}


def _text_seeds(name: str, *contents: str) -> Callable[[], list[Input]]:
    return cache(lambda: [Input({name: content.encode()}, ("audit", name)) for content in contents])


_CSV = "epoch,train_loss,val_loss,i2t_R@1,lr,note\n0,4.852,4.9,0.001,1e-4,a\n1,3.5,3.7,0.2,2e-4,b\n2,2.5,,0.31,1e-4,c\n"
_ROW = "4.85203,0.0003351206,0.001675603,0.003351206\n"
_TABLE = f"step,val_loss,i2t_r1,i2t_r5,i2t_r10\n1,{_ROW}2,{_ROW}"
_DICTIONARY = tuple(f'{{"loss": {number}, "step": 1}}\n' for number in NUMBERS[:4])


def log_reader(name: str, file: str, seeds: Callable[[], Sequence[Input]], make: Callable[[Random], Input]) -> Reader:
    return Reader(name, seeds, make, run, partial(read_columns, file))


LOGS = (
    log_reader(
        "log: CSV", "log.csv", _text_seeds("log.csv", _CSV, _TABLE), partial(table, delimiter=",", name="log.csv")
    ),
    log_reader(
        "log: TSV",
        "log.tsv",
        _text_seeds("log.tsv", _CSV.replace(",", "\t")),
        partial(table, delimiter="\t", name="log.tsv"),
    ),
    log_reader("log: JSON", "log.json", _text_seeds("log.json", json.dumps(PUBLISHED), json.dumps(OURS)), json_log),
    log_reader(
        "log: JSON lines",
        "log.jsonl",
        _text_seeds("log.jsonl", "".join(json.dumps(row) + "\n" for row in OURS), *_DICTIONARY),
        json_lines,
    ),
)
