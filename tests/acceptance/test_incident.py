"""What the incident must show, three seeds, as the user runs it. Some ten minutes on two cores: ``make acceptance``."""

from __future__ import annotations

import json
import math
import time

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_incident(command, tmp_path, monkeypatch, seed):
    monkeypatch.setenv("EDGEGLASS_CACHE", str(tmp_path / "cache"))
    start = time.perf_counter()
    done = command("run", "incident", "--set", f"seed={seed}", "--out", tmp_path / "incident", "--json")
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    baseline, perceiver = json.loads(done.stdout)["runs"]
    print(f"seed {seed}: {seconds:.0f} s")
    for run in (baseline, perceiver):
        print(
            run["name"],
            run["train_loss"],
            run["val_loss"],
            run["i2t"],
            run["t2i"],
            [f["code"] for f in run["findings"]],
        )
    assert min(baseline["i2t"]["R@1"], baseline["t2i"]["R@1"]) >= 0.5
    assert baseline["n"] == perceiver["n"] == 1000
    assert [f for f in baseline["findings"] if f["severity"] != "info"] == []
    assert max(perceiver["i2t"]["R@1"], perceiver["t2i"]["R@1"]) <= 3 / 1000
    assert perceiver["train_loss"] == pytest.approx(1.25 * math.log(128), rel=0.01)
    critical = {f["code"]: f for f in perceiver["findings"] if f["severity"] == "critical"}
    since = critical["EG301"]["since"]
    assert critical["EG301"]["evidence"]["side"] == "image"
    assert critical["EG301"]["step"] - since <= 60
    assert critical["EG401"]["step"] - since <= 60
    (latents,) = [f for f in perceiver["findings"] if f["code"] == "EG001"]
    assert {latents["evidence"][place]["line"] for place in ("first", "last")}
    assert seconds < 180


def test_an_eighth_of_the_width_keeps_the_recall(command, tmp_path):
    command("run", "baseline", "--out", tmp_path / "run", "--json")
    mrl = json.loads(command("eval", tmp_path / "run", "--json").stdout)["mrl"]
    for way in ("i2t", "t2i"):
        assert mrl["32"][way]["R@1"] >= mrl["256"][way]["R@1"] - 0.03
