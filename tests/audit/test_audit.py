"""What the audit concludes from numbers alone, and what it does not."""

import copy
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings

from edgeglass_diag.auditing.audit import audit
from edgeglass_diag.auditing.catalogue import CONCLUSIONS
from edgeglass_diag.auditing.chance import fingerprint, grid_mean, round_to
from edgeglass_diag.auditing.counts import infer_count
from edgeglass_diag.auditing.impossible import wrong_share
from edgeglass_diag.auditing.readers.tree import histories
from edgeglass_diag.records import Severity
from edgeglass_diag.rules import CATALOGUE, Stage
from tests.helpers.audit_logs import OURS, PUBLISHED, healthy_histories


def audited(value, name="log"):
    return {logged.name: audit(logged) for logged in histories(name, value, f"{name}.json")}


LOGGED = {rule.code for rule in CATALOGUE if Stage.LOG in rule.stages} | {one.code for one in CONCLUSIONS}


def codes(one, *, least=Severity.INFO):
    assert {f.code for f in one.conclusions} <= LOGGED
    return sorted({f.code for f in one.conclusions if f.severity.rank >= least.rank})


def finding(one, code):
    return next(f for f in one.conclusions if f.code == code)


def one_history(rows, **config):
    return audited({"config": config, "history": rows})["log"]


def test_the_published_perceiver_has_collapsed_in_batches_of_128():
    one = audited(PUBLISHED)["perceiver"]
    assert codes(one, least=Severity.WARNING) == ["EG203", "EG301", "EG401", "EG452", "EG453", "EG601"]
    assert {k: one.inferred[k] for k in ("n", "batch_size", "full_batches", "last_batch")} == {
        "n": 2984, "batch_size": 128, "full_batches": 23, "last_batch": 40,
    }  # fmt: skip
    assert "(23 ln 128 + ln 40) / 24" in finding(one, "EG301").message
    assert finding(one, "EG301").evidence["coincidence"] < 1e-4
    assert "batches of 128, not the 64" in finding(one, "EG452").message
    assert "every prefix that was sampled" in finding(one, "EG453").message
    assert {finding(one, code).because_of for code in ("EG401", "EG453", "EG601")} == {"EG301"}


def test_the_published_baseline_learned_and_its_validation_loss_was_never_computed():
    one = audited(PUBLISHED)["baseline"]
    assert codes(one) == ["EG203", "EG402", "EG450"]
    assert one.inferred["n"] == 2984
    assert finding(one, "EG402").site == "baseline/report/val_loss"
    assert finding(one, "EG450").site == "baseline/summary_row/best_val_loss"
    rate = finding(one, "EG203").evidence
    assert rate["horizon"] == pytest.approx(9 * 109, rel=1e-3)
    assert rate["peak"] == pytest.approx(2e-4, rel=1e-3)


def test_the_same_numbers_without_their_faults_are_silent():
    mended = copy.deepcopy(PUBLISHED["baseline"])
    mended["report"]["val_loss"] = 0.76
    mended["summary_row"]["best_val_loss"] = 0.7646021544933319
    del mended["lr_of_the_last_epoch"]
    assert codes(audited({"a": mended})["a"]) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(healthy_histories())
def test_healthy_histories_are_silent(history):
    one = audited(history)["log"]
    assert [f.message for f in one.conclusions if f.severity is not Severity.INFO] == []


def test_the_history_of_a_healthy_run_of_ours_is_silent():
    """Six epochs of the baseline recipe, seed 0, as it wrote them; the term weights are found from the digits."""
    one = one_history(OURS)
    assert [f.message for f in one.conclusions] == []
    assert one.inferred["totals"] == [
        "history/val/loss: 0.3922206 = 0.25 x 0.2820598 + 1 x 0.3217056 (weights by digits)"
    ]


@pytest.mark.parametrize("batch", [64, 100, 128, 777])
@pytest.mark.parametrize("n", [1000, 2984, 5003])
@pytest.mark.parametrize("weight", [1.0, 1.25])
def test_batch_and_pairs_are_found_again(batch, n, weight):
    whole, rest = divmod(n, batch)
    level = weight * (whole * math.log(batch) + (math.log(rest) if rest else 0)) / (whole + bool(rest))
    found = fingerprint(level, 2e-6, weights=(weight,), sizes=(n,), limit=2e-2)
    assert (found.batch, found.batches, found.rest) == (batch, whole if rest else found.batches, rest)
    assert found.predicted == pytest.approx(level, abs=2e-6)


def test_a_coincidence_is_bounded_by_what_was_tried():
    """Losses of no meaning meet a batch as often as said, at most: here 600 of them over two nats."""
    limit, met = 2e-2, 0
    for index in range(600):
        met += fingerprint(3 + index * 0.003292180, 1e-5, weights=(1.0,), sizes=(2984,), limit=limit) is not None
    assert 0 < met <= 600 * limit


def test_few_digits_tell_no_batch():
    assert fingerprint(4.85, 5e-3, weights=(1.0,), sizes=(), limit=1e-3) is None


def test_half_precision_is_chance_too():
    found = fingerprint(8.3203125, 4e-6, weights=(1.0,), sizes=(), limit=2e-2)
    assert (found.batch, found.grid, round_to(math.log(4096), 11)) == (4096, "fp16", 8.3203125)


def test_the_number_of_half_precision_losses_behind_a_mean():
    losses = [round_to(math.log(128) + 0.02 * math.sin(i), 8) for i in range(61)]
    assert grid_mean(sum(losses) / 61)[0] == 61
    assert grid_mean(4.848122133) is None


def test_recalls_tell_how_many_queries_there_are():
    assert infer_count([839 / 2003, 1700 / 2003, 1900 / 2003], 1e-12).n == 2003
    assert infer_count([0.84, 0.99], 5e-3) is None


def test_a_logged_number_of_queries_goes_before_the_least_that_fits():
    recalls = {"i2t_R@1": 4 / 15, "i2t_R@5": 11 / 15, "i2t_R@10": 13 / 15}
    assert one_history([recalls]).inferred["n"] == 15
    assert one_history([{**recalls, "n": 60}]).inferred["n"] == 60


def test_the_share_of_wrong_answers_is_a_lower_bound_on_what_ranking_gives():
    import numpy as np

    drawn = np.random.default_rng(0)
    image = drawn.standard_normal((2000, 16))
    text = image + 1.2 * drawn.standard_normal((2000, 16))
    scores = image @ text.T
    ranks = (scores > np.diag(scores)[:, None]).sum(1)
    recalls = {k: float((ranks < k).mean()) for k in (1, 5, 10)}
    order = drawn.permutation(2000)[: 128 * 15].reshape(15, 128)
    wrong = np.mean([(scores[np.ix_(b, b)].argmax(1) != np.arange(128)).mean() for b in order])
    assert 0.02 < wrong_share(recalls, 2000, 128) <= wrong


def test_a_loss_that_stays_at_chance_in_every_row():
    rows = [{"epoch": e, "train_loss": 4.852, "val_loss": 4.8520} for e in range(5)]
    one = one_history(rows, batch_size=128)
    assert codes(one, least=Severity.WARNING) == ["EG401"]
    assert one.inferred["batch_size"] == 128


def test_a_loss_that_passes_its_chance_level_is_no_collapse():
    rows = [{"epoch": e, "val_loss": v} for e, v in enumerate([5.1, 4.9, 4.8520303])]
    assert codes(one_history(rows, batch_size=128)) == []


def test_recalls_that_fall_with_k_or_exceed_one():
    rows = [{"i2t_R@1": 0.523, "i2t_R@5": 0.412, "t2i_R@1": -0.112}]
    assert codes(one_history(rows)) == ["EG602", "EG651"]


def test_percent_is_told_from_fractions():
    one = one_history(
        [{"train_loss": 1.12, "val_loss": 0.0, "i2t_R@1": 52.3, "i2t_R@5": 78.5, "n": 2984}], batch_size=128
    )
    assert "values above 1" in one.inferred["recall_unit"]
    assert codes(one) == ["EG402"]


def test_percent_of_a_collapsed_model_has_no_value_above_one():
    recalls = {"i2t_R@1": 0.1, "i2t_R@5": 0.5, "i2t_R@10": 1.0}
    rows = [{"epoch": e, "val_loss": 4.85203, **recalls, "n": 1000} for e in range(4)]
    one = one_history(rows)
    assert one.inferred["recall_unit"] == "percent: as percent they are exactly K / 1000"
    assert "EG301" in codes(one)
    assert one_history([recalls]).inferred["recall_unit"] == "fraction: no value is above 1"


def test_uniform_softmax_beside_a_perfect_recall():
    rows = [{"epoch": e, "val_loss": math.log(128), "i2t_R@1": 1.0, "i2t_R@5": 1.0, "n": 1280} for e in range(4)]
    assert codes(one_history(rows, batch_size=128), least=Severity.WARNING) == ["EG401", "EG653"]


def test_exact_recalls_alone_are_only_a_fact():
    one = one_history([{"i2t_R@1": 0.001, "i2t_R@5": 0.005, "i2t_R@10": 0.01, "n": 1000}])
    assert [(f.code, f.severity) for f in one.conclusions] == [("EG601", Severity.INFO)]
    assert finding(one, "EG601").evidence["probability"] == pytest.approx(0.0126, rel=0.02)


def rate(values, **config):
    return one_history([{"step": 10 * i, "lr": v} for i, v in enumerate(values)], **config)


def test_shapes_of_a_learning_rate():
    cosine = [1e-3 * 0.5 * (1 + math.cos(math.pi * i / 40)) for i in range(55)]
    assert codes(rate(cosine)) == ["EG203"]
    assert codes(rate(cosine[:41])) == []
    assert codes(rate([1e-6 * i for i in range(1, 30)], lr=1e-3)) == ["EG212"]
    assert codes(rate([1e-4] * 30)) == []
    assert codes(rate(cosine[:40] + cosine[:40])) == ["EG251"]
    assert codes(rate(cosine[:41] + [0.0] * 20)) == ["EG213"]
    triangle = [abs(20 - i % 40) * 5e-5 for i in range(75)]
    assert "EG203" not in codes(rate(triangle))


def test_losses_that_never_move_or_were_never_computed():
    frozen = [{"epoch": e, "train_loss": 3.1234567} for e in range(6)]
    assert codes(one_history(frozen)) == ["EG451"]
    placeholder = [{"epoch": e, "train_loss": 2.0 / (e + 1), "val_loss": 0.0} for e in range(6)]
    assert codes(one_history(placeholder)) == ["EG450"]
    broken = [{"epoch": e, "train_loss": v} for e, v in enumerate([4.8, 4.1, math.nan, math.nan])]
    assert codes(one_history(broken)) == ["EG801"]
    missing = [{"epoch": e, "train_loss": 3 - e / 9.7, "val_loss": math.nan} for e in range(6)]
    assert codes(one_history(missing)) == ["EG450"]


def test_scales_and_counters_are_facts():
    rows = [{"step": s, "logit_scale": 100.0} for s in (0, 10, 20, 10, 20)]
    assert [(f.code, f.severity) for f in one_history(rows).conclusions] == [
        ("EG455", Severity.INFO),
        ("EG253", Severity.INFO),
    ]
    init = [{"epoch": e, "logit_scale": 2.659260} for e in range(4)]
    assert codes(one_history(init)) == ["EG456"]
    assert codes(one_history(init, learned_scale=True), least=Severity.WARNING) == ["EG456"]
    assert codes(one_history(init, learned_scale=False)) == []


def test_what_a_name_leaves_open_is_said():
    one = one_history([{"recall": 0.3, "scale": 14.2, "train_loss": 1.0}])
    assert set(one.open_columns) == {"history/recall", "history/scale"}
    assert "--column ROLE=recall" in one.open_columns["history/recall"]


def test_conclusions_hold_what_json_can_say():
    for one in audited(PUBLISHED).values():
        json.dumps([dict(f.evidence) for f in one.conclusions], allow_nan=False)


def test_a_loss_below_the_floor_of_its_scale():
    """At s = 1 and B = 128 no loss is below 3.86; a scale up to ln 100 may be a logarithm, and is taken as one."""
    rows = [{"epoch": e, "val_loss": 0.7 - 0.013 * e, "logit_scale": -0.5} for e in range(4)]
    one = one_history(rows, batch_size=128)
    assert codes(one, least=Severity.WARNING) == ["EG457"]
    assert finding(one, "EG457").evidence["bound"] == pytest.approx(math.log1p(127 * math.exp(-0.60653066 * 128 / 127)))
    assert codes(one_history([{**row, "logit_scale": 2.7 + row["epoch"] / 99} for row in rows], batch_size=128)) == []
    assert codes(one_history(rows), least=Severity.WARNING) == []
    parts = [{**row, "val_loss_clip": 4.1, "val_loss_mrl": 4.0 + row["epoch"] / 17} for row in rows]
    assert "EG457" not in codes(one_history(parts, batch_size=128))


def test_a_loss_above_what_its_accuracy_allows():
    rows = [{"epoch": e, "val_loss": 9.1 - 0.013 * e, "val_acc": 0.9, "logit_scale": 0.1} for e in range(4)]
    one = one_history(rows, batch_size=128)
    assert codes(one, least=Severity.WARNING) == ["EG458"]
    scale = math.exp(0.1)
    ceiling = math.log1p(127 * math.exp(2 * scale))
    assert finding(one, "EG458").evidence["bound"] == pytest.approx(0.9 * math.log(128) + 0.1 * ceiling)
    assert codes(one_history([{**row, "val_loss": row["val_loss"] - 5} for row in rows], batch_size=128)) == []


def test_a_batch_size_that_is_told_goes_before_the_settings():
    rows = [{"epoch": e, "val_loss": 0.9 - 0.013 * e, "logit_scale": 0.0} for e in range(4)]
    (logged,) = histories("log", {"config": {"batch_size": 2}, "history": rows}, "log.json")
    assert codes(audit(logged), least=Severity.WARNING) == []
    assert codes(audit(logged, batch_size=128), least=Severity.WARNING) == ["EG457"]
