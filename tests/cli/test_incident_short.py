"""The incident, cut short; the whole of it is ``make acceptance``."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("feature_cache")]

SHORT = ["--set", "data.train=1920", "--set", "data.val=128", "--set", "data.test=300"]
SHORT += ["--set", "train.epochs=6", "--set", "train.max_steps=64"]


def test_the_ill_one_is_named_and_the_healthy_one_is_silent(command, tmp_path):
    done = command("run", "incident", *SHORT, "--out", tmp_path / "incident", "--json")
    assert done.returncode == 0, done.stderr
    baseline, perceiver = json.loads(done.stdout)["runs"]
    assert baseline["i2t"]["R@1"] > 10 * baseline["chance"]["R@1"]
    assert [f for f in baseline["findings"] if f["severity"] != "info"] == []
    critical = {f["code"]: f for f in perceiver["findings"] if f["severity"] == "critical"}
    assert {"EG301", "EG401"} <= set(critical)
    assert critical["EG301"]["evidence"]["side"] == "image"
    assert critical["EG401"]["because_of"] == "EG301"
    for code in ("EG301", "EG401"):
        assert critical[code]["step"] - critical["EG301"]["since"] <= 60
    assert "EG001" in {f["code"] for f in perceiver["findings"]}
    compared = json.loads(command("compare", tmp_path / "incident", "--json").stdout)
    assert compared["first_divergence"]["step"] < 20
    assert "optim.lr" in compared["differing_settings"]
