"""Runs of version 2 kept facts of sites and findings in sentences; they are read as typed sites and findings."""

import json
import sqlite3
import struct

import pytest

from edgeglass_diag.records import SourceLine
from edgeglass_diag.signals.attention import ATTENTION_EFFECTIVE_NUM_OUTPUTS
from edgeglass_diag.signals.losses import LOSS_TOTAL
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
)
from edgeglass_diag.store import load

SCHEMA = """
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE signals (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE layouts (id INTEGER PRIMARY KEY, entries BLOB NOT NULL UNIQUE);
CREATE TABLE windows (step INTEGER PRIMARY KEY, time REAL NOT NULL);
CREATE TABLE slices (
    id INTEGER PRIMARY KEY, signal INTEGER NOT NULL, seq INTEGER NOT NULL, step INTEGER NOT NULL,
    layout INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE stretches (
    id INTEGER PRIMARY KEY, signal INTEGER NOT NULL, last INTEGER NOT NULL, layout INTEGER NOT NULL,
    seqs BLOB NOT NULL, steps BLOB NOT NULL);
CREATE TABLE blocks (stretch INTEGER NOT NULL, place INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (stretch, place));
CREATE TABLE summaries (stretch INTEGER NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (stretch, kind));
CREATE TABLE sites (path TEXT NOT NULL, kind TEXT NOT NULL, position INTEGER, parents TEXT, label TEXT,
    status TEXT, PRIMARY KEY (path, kind));
CREATE TABLE origins (name TEXT PRIMARY KEY, shape TEXT, std REAL, writes TEXT);
CREATE TABLE findings (
    id INTEGER PRIMARY KEY, code TEXT NOT NULL, site TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (code, site));
"""
FINDING = {
    "code": "EG301", "name": "constant-embeddings", "severity": "critical", "site": "head[:64]", "step": 20,
    "message": "constant", "fix": "scale", "because_of": None,
    "evidence": {"sample_signal": 0.0, "since": 4, "learned_since": 30, "first_dead_module": "image.pool"},
}  # fmt: skip
OVERWRITTEN = {**FINDING, "code": "EG001", "site": "w", "evidence": {"op": "normal_", "file": "m.py", "line": 3}}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    header = {"format": "edgeglass-diag run", "version": 2, "name": "old", "created": 0, "pid": 1, "status": "finished"}
    (folder / "run.json").write_text(json.dumps(header))
    db = sqlite3.connect(folder / "signals.sqlite")
    db.executescript(SCHEMA)
    db.execute("INSERT INTO windows VALUES (10, 0.0)")
    db.executemany("INSERT INTO names VALUES (?, ?)", [(1, "a.attention"), (2, "")])
    names = [(1, "attention/distinct"), (2, "loss/total"), (3, "signal/of_no_version")]
    db.executemany("INSERT INTO signals VALUES (?, ?)", names)
    db.execute("INSERT INTO layouts VALUES (1, ?)", (struct.pack("<2q", 1, 2),))
    db.execute("INSERT INTO layouts VALUES (2, ?)", (struct.pack("<2q", 2, 1),))
    slices = [(1, 1, struct.pack("<2f", 1.5, 2.5)), (2, 2, struct.pack("<d", 4.85)), (3, 2, struct.pack("<d", 1.0))]
    db.executemany("INSERT INTO slices (signal, seq, step, layout, data) VALUES (?, 1, 10, ?, ?)", slices)
    for found in (FINDING, OVERWRITTEN):
        row = (found["code"], found["site"], json.dumps(found))
        db.execute("INSERT INTO findings (code, site, record) VALUES (?, ?, ?)", row)
    db.commit()
    yield folder, db
    db.close()


LABELS = [
    (("a.b", "module", '["x"]', "Linear"), ModuleSite(path="a.b", parents=("x",), class_name="Linear")),
    (
        ("w", "parameter", '["group1"]', "64x512 sharded, here 32x512"),
        ParameterSite(path="w", shape=(64, 512), local_shape=(32, 512), optimizer=0, group=1),
    ),
    (("s", "parameter", '["optimizer2.group0"]', ""), ParameterSite(path="s", optimizer=2, group=0)),
    (("v", "parameter", '["group0"]', "64"), ParameterSite(path="v", shape=(64,), optimizer=0, group=0)),
    (
        ("a.attention", "attention", '["a"]', "latents"),
        AttentionSite(path="a.attention", parents=("a",), module="a", queries_from="latents"),
    ),
    (("attention", "attention", "[]", "unnamed"), AttentionSite(path="attention")),
    (
        ("clip.cross_entropy#1", "loss", "[]", "sum"),
        LossSite(path="clip.cross_entropy#1", function=LossFunction.CROSS_ENTROPY, reduction="sum"),
    ),
    (("logsigmoid", "loss", "[]", "sigmoid"), LossSite(path="logsigmoid", function=LossFunction.LOGSIGMOID)),
    (("logsumexp", "loss", "[]", "logsumexp"), LossSite(path="logsumexp", function=LossFunction.LOGSUMEXP)),
    (
        ("head#1[:64]", "embedding", '["head#1"]', "image"),
        EmbeddingSite(path="head#1[:64]", parents=("head#1",), module="head#1", width=64, side=Side.IMAGE),
    ),
    (
        ("a[:8] x b[:8]", "pairs", '["a[:8]", "b[:8]"]', ""),
        PairSite(path="a[:8] x b[:8]", parents=("a[:8]", "b[:8]"), left="a[:8]", right="b[:8]"),
    ),
    (
        ("clip.images", "data", "[]", "3x64x64 float32"),
        BatchSite(path="clip.images", module="clip", argument="images", shape=(3, 64, 64), dtype="float32"),
    ),
    (("a", "reshape", "[]", "8x16x64 -> 8x4x16x16"), ReshapeSite(path="a", before=(8, 16, 64), after=(8, 4, 16, 16))),
    (("", "noise", "[]", "without gradients"), DropoutSite(path="", place=DropoutPlace.EVALUATION)),
    (
        ("visual", "noise", "[]", "although all its weights are frozen"),
        DropoutSite(path="visual", place=DropoutPlace.FROZEN_ENCODER),
    ),
    (("optimizer", "optimizer", "[]", ""), RecorderSite(path="optimizer")),
]
STATUSES = [
    ("observed", Coverage.OBSERVED, ""),
    ("trainable, but held by no optimizer that has stepped", Coverage.NOT_HELD, ""),
    ("trainable and given a gradient, but held by no optimizer that has stepped", Coverage.NOT_HELD_WITH_GRADIENT, ""),
    ("held by an optimizer, but without gradient", Coverage.HELD_WITHOUT_GRADIENT, ""),
    ("held by an optimizer, but without gradient (it is frozen)", Coverage.HELD_FROZEN, ""),
    ("recorder failed: ValueError: x", Coverage.RECORDER_FAILED, "ValueError: x"),
    ("logsigmoid of 1-D logits is no contrastive loss", Coverage.NOT_CONTRASTIVE, "logsigmoid of 1-D logits"),
    (
        "windows of more than 256 forward passes are not recorded",
        Coverage.TOO_MANY_FORWARDS,
        "more than 256 forward passes",
    ),
    ("what no version says", Coverage.OTHER, "what no version says"),
]


@pytest.mark.parametrize(("row", "site"), LABELS)
def test_a_label_becomes_the_facts_of_its_site(folder, row, site):
    folder, db = folder
    db.execute("INSERT INTO sites VALUES (?, ?, 0, ?, ?, 'observed')", row)
    db.commit()
    with load(folder) as run:
        assert run.sites == [site]


@pytest.mark.parametrize(("status", "coverage", "detail"), STATUSES)
def test_a_status_becomes_a_coverage(folder, status, coverage, detail):
    folder, db = folder
    db.execute("INSERT INTO sites VALUES ('w', 'parameter', 0, '[]', '', ?)", (status,))
    db.commit()
    with load(folder) as run:
        assert run.sites == [ParameterSite(path="w", coverage=coverage, detail=detail)]


def test_facts_in_the_evidence_become_fields(folder):
    with load(folder[0]) as run:
        constant, overwritten = run.findings
    assert (constant.since, constant.learned_since, constant.focus) == (4, 30, "image.pool")
    assert constant.evidence == {"sample_signal": 0.0, "first_dead_module": "image.pool"}
    assert overwritten.place == SourceLine("m.py", 3)
    assert overwritten.evidence == {"op": "normal_"}


def test_a_signal_is_found_under_its_former_path_and_that_of_today(folder):
    with load(folder[0]) as run:
        assert run.signals == [ATTENTION_EFFECTIVE_NUM_OUTPUTS, LOSS_TOTAL]
        for path in ("attention/distinct", "attention/effective_num_outputs"):
            assert run.frame(path).value.tolist() == [1.5, 2.5]
            assert run.matrix(path).high.tolist() == [[2.0]]
        (_, reading), *_ = run.readings("attention/distinct")
        assert reading.signal is ATTENTION_EFFECTIVE_NUM_OUTPUTS
