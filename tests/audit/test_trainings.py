"""Single kinds of faulty courses beside their healthy twins, and the comparison with a healthy log."""

import json
import math

import numpy as np
import pytest

from edgeglass_diag.auditing.report import audit
from edgeglass_diag.records import Severity

STEPS = np.arange(40)
FALL = 1.4 + 1.6 * np.exp(-STEPS / 8.0)
DRAWN = np.random.default_rng(0)
NOISE = 0.02 * DRAWN.standard_normal(40)


@pytest.fixture
def said(tmp_path):
    """Return the codes, from a warning on, of a log of columns."""

    def codes(*, config=None, baseline=None, least=Severity.WARNING, **columns):
        found = report(tmp_path, config=config, baseline=baseline, **columns).conclusions
        return sorted({f.code for f in found if f.severity.rank >= least.rank})

    return codes


def report(folder, *, config=None, baseline=None, **columns):
    def write(name, held, settings):
        rows = [
            {"step": int(s), **{key.replace("__", "/"): float(v[i]) for key, v in held.items()}}
            for i, s in enumerate(STEPS[: len(next(iter(held.values())))])
        ]
        path = folder / f"{name}.json"
        path.write_text(json.dumps({"config": settings or {}, "history": rows}))
        return path

    healthy = None if baseline is None else write("healthy", baseline[0], baseline[1])
    return audit(write("log", columns, config), against=healthy)


def test_a_divergence_names_the_gradient(tmp_path):
    loss = np.concatenate([FALL[:36], [3.1, 6.2, 7.4, 7.49]])
    norm = np.concatenate([np.full(36, 1.2), [40.0, 2650.0, 900.0, 700.0]])
    (found,) = (f for f in report(tmp_path, loss=loss, grad_norm=norm).conclusions if f.code == "EG204")
    assert found.severity is Severity.CRITICAL
    assert "the gradient norm reaches 2650, usually 1.2" in found.message


def test_a_spike_that_recovers_is_no_divergence(said):
    loss = FALL + NOISE
    loss[20:23] += [3.0, 1.2, 0.3]
    assert said(loss=loss, grad_norm=1.2 + NOISE) == []


def test_a_warm_up_from_exactly_0_does_not_jump_back(said):
    rate = np.minimum(STEPS / 10, 1) * 1e-3
    assert said(loss=FALL, lr=rate, least=Severity.INFO) == []
    rate[25:] = np.minimum(np.arange(15) / 10, 1) * 1e-3
    loss = FALL + NOISE
    loss[25:] += 1.6 * np.exp(-np.arange(15) / 5.0)
    assert said(loss=loss, lr=rate) == ["EG256"]


def test_a_rate_of_0_and_one_that_is_written_with_few_digits(said):
    assert said(loss=2.3 + NOISE, lr=np.zeros(40)) == ["EG255", "EG462"]
    assert said(loss=FALL, lr=np.zeros(40)) == []


def test_overfitting_and_a_bump(said):
    val = np.where(STEPS < 15, 2.4 - STEPS / 15, 1.4 + (STEPS - 15) / 40)
    assert said(train__loss=FALL - STEPS / 60, val__loss=val + NOISE / 4) == ["EG459"]
    bump = FALL + 0.3 + 0.4 * np.exp(-(((STEPS - 20) / 4.0) ** 2))
    assert said(train__loss=FALL - STEPS / 60, val__loss=bump) == []


def test_an_accuracy_that_never_leaves_its_first_value(said):
    entropy = -0.7 * math.log(0.7) - 0.3 * math.log(0.3)
    assert said(train__loss=entropy + NOISE, val__acc=np.full(40, 0.7012)) == ["EG608"]
    late = np.where(STEPS < 10, 0.7012, np.round(0.95 - 0.25 * np.exp(-(STEPS - 10) / 8), 4))
    loss = np.where(STEPS < 10, entropy, entropy * np.exp(-(STEPS - 10) / 8))
    assert said(train__loss=loss * (1 + NOISE), val__acc=late) == []


@pytest.mark.parametrize("name", ["accuracy", "val__acc"])
def test_what_is_no_share_is_no_accuracy_of_a_majority(said, name):
    odd = np.where(STEPS % 5 < 3, 0.7012, 498.0)  # its mean is no share, its median is one
    assert said(train__loss=0.61 + NOISE / 40, least=Severity.INFO, **{name: odd}) == said(
        train__loss=0.61 + NOISE / 40, least=Severity.INFO
    )


def test_recalls_of_chance_and_of_ties(said):
    chance = {f"i2t_R@{k}": np.full(40, 0.001 * k) for k in (1, 5, 10)}
    assert "EG601" in said(loss=FALL, **chance) or "EG610" in said(loss=FALL, **chance)
    picture = 0.7 * (1 - np.exp(-(STEPS + 1) / 6.0))
    tied = {"t2i_R@1": picture / 5, "t2i_R@5": picture, "t2i_R@10": picture + (1 - picture) * 0.1}
    assert said(loss=FALL, **{name: np.round(v, 4) for name, v in tied.items()}) == ["EG609"]
    ranked = {f"t2i_R@{k}": np.round(1 - (1 - picture) ** (k**0.55), 4) for k in (1, 5, 10)}
    assert said(loss=FALL, **ranked) == []


def test_a_term_that_does_not_move(said):
    parts = {"loss_itc": FALL, "loss_itm": 0.6365 + NOISE / 40}
    assert said(loss=sum(parts.values()), **parts) == ["EG460"]
    parts["loss_itm"] = 0.6365 * np.exp(-STEPS / 60.0)
    assert said(loss=sum(parts.values()), **parts) == []


def test_nan_in_between_and_the_search_of_a_loss_scaler(said):
    loss = FALL.copy()
    loss[[7, 19]] = math.nan
    assert said(loss=loss) == ["EG461"]
    norm = 1 + NOISE
    norm[:3] = math.inf
    assert said(loss=FALL, grad_norm=norm) == []


def test_speed_that_decays_and_a_first_step_that_compiles(said):
    assert said(loss=FALL, steps_per_second=(3 + NOISE) / (1 + STEPS / 20)) == ["EG258"]
    assert said(loss=FALL, step_time=np.where(STEPS == 0, 60.0, 0.3 + NOISE / 10)) == []


def test_a_log_is_compared_with_a_healthy_one(tmp_path):
    slow = 1.9 + 1.1 * np.exp(-STEPS / 8.0)
    healthy = ({"loss": FALL + NOISE, "lr": np.full(40, 1e-3)}, {"batch_size": 256, "seed": 1})
    found = report(
        tmp_path, loss=slow + NOISE[::-1], lr=np.full(40, 1e-4), config={"batch_size": 32, "seed": 2}, baseline=healthy
    ).conclusions
    worse, others = (next(f for f in found if f.code == code) for code in ("EG463", "EG464"))
    assert (worse.severity, others.severity) == (Severity.WARNING, Severity.INFO)
    assert "in baseline healthy, and behind since step" in worse.message
    assert "lr is 0.0001 at step 0, 0.001 in the baseline" in others.message
    assert "setting batch_size is 32, 256 in the baseline" in others.message
    assert "seed" not in others.message


def test_another_seed_is_not_worse(said):
    healthy = ({"loss": FALL + NOISE, "lr": np.full(40, 1e-3)}, {"batch_size": 256})
    twin = {"loss": 1.01 * FALL + NOISE[::-1], "lr": np.full(40, 1e-3)}
    assert said(**twin, config={"batch_size": 256}, baseline=healthy, least=Severity.INFO) == []
