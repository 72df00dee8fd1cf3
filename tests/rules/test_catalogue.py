"""Every rule fires on its faulty case and is silent on the healthy ones."""

import math

import pytest

from edgeglass_diag.records import ParameterOrigin, ParameterWrite, Severity, Window
from tests.helpers.windows import STEPS, judge, learning, module, window


def constant(value):
    return lambda t: value


CHANCE = {
    "|loss/total": constant(4.852),
    "|loss/explained": constant(4.852),
}
COLLAPSE = CHANCE | {
    "image[:64]|embedding/sample_signal": lambda t: 0.3 if t < 8 else 1e-9,
    "cross_entropy|loss/logit_std": lambda t: 1.0 if t < 8 else 1e-3,
    "cross_entropy|loss/accuracy": constant(1 / 128),
    "image|activation/sample_signal": lambda t: 0.3 if t < 8 else 1e-9,
}


def test_a_healthy_run_is_silent():
    found, _ = judge(learning())
    assert found == {}


@pytest.mark.parametrize(
    "overrides",
    [
        {"image.attention|attention/entropy": constant([0.999, 0.9999])},
        {"image.attention|attention/effective_num_outputs": constant([1.0, 1.0])},
        {"image[:64]|embedding/sample_signal": constant(0.0044)},
        {"w|update/ratio": lambda t: 0.3 if t < 5 else 0.01},
        {"w|weight/norm": lambda t: 0.001 + 0.1 * t, "w|update/ratio": lambda t: 1 / (t + 1)},
        {"w|weight/row_signal": lambda t: 0.0 if t == 0 else 0.5},
        {"group0|optimizer/lr": lambda t: 1e-3 * min(1, (t + 1) / 100) * 0.5 * (1 + math.cos(math.pi * t / 400))},
        {"group0|optimizer/lr": lambda t: 1e-3 * 0.5 * (1 + math.cos(math.pi * (t % 100) / 100))},
        {"group0|optimizer/lr": lambda t: 1e-3 * abs((t % 200) - 100) / 100 + 1e-6},
        {"|gradient/norm_clipped": lambda t: math.inf if t in (3, 100) else 1.0},
        CHANCE
        | {
            "w|update/ratio": lambda t: 1e-6 * (t + 1),
            "group0|optimizer/lr": lambda t: 1e-6 * (t + 1),
            "cross_entropy|loss/logit_std": constant(0.01),
        },
    ],
    ids=[
        "uniform attention that learns", "queries alike that learn", "cosine .9956 as at random init",
        "large first updates", "zero-initialised matrix", "zero rows at step 0", "warm-up and cosine",
        "warm restarts", "triangular cycle", "two overflowing steps", "warm-up that has hardly begun",
    ],
)  # fmt: skip
def test_what_looks_odd_and_is_healthy_is_silent(overrides):
    found, _ = judge(learning(**overrides), ended=False)
    assert {code: f.message for code, f in found.items()} == {}


def test_a_collapse_names_side_module_and_time_and_nests_what_follows():
    found, _ = judge(learning(**COLLAPSE))
    assert found["EG301"].severity == Severity.CRITICAL
    assert found["EG301"].site == "image"
    assert found["EG301"].evidence["side"] == "image"
    assert found["EG301"].since == 8
    assert found["EG301"].step <= 8 + 40
    assert found["EG401"].severity == Severity.CRITICAL
    assert found["EG401"].because_of == "EG301"
    assert found["EG101"].because_of == "EG301"
    assert found["EG301"].because_of is None


def test_a_constant_side_whose_other_side_makes_the_loss_exceed_chance():
    overrides = COLLAPSE | {
        "|loss/total": constant(5.2),
        "|loss/explained": constant(5.2),
        "cross_entropy|loss/logit_std": constant(2.0),
    }
    found, _ = judge(learning(**overrides))
    assert "one side of the logits is constant" in found["EG401"].message


def test_mispaired_data_is_at_chance_with_varied_logits_and_only_a_warning():
    overrides = CHANCE | {"cross_entropy|loss/accuracy": constant(1 / 128)}
    found, _ = judge(learning(**overrides))
    assert set(found) == {"EG401", "EG101", "EG503"}
    assert found["EG503"].because_of is None
    assert found["EG401"].because_of == found["EG101"].because_of == "EG503"
    assert found["EG401"].severity == Severity.WARNING
    assert found["EG401"].step >= 200
    better = judge(learning(**(CHANCE | {"cross_entropy|loss/accuracy": constant(3 / 128)})))[0]
    assert not {"EG401", "EG503"} & set(better)


def test_the_chance_level_counts_weights_and_is_said_in_words():
    overrides = COLLAPSE | {
        "|loss/total": constant(6.065),
        "|loss/chance": constant(1.25 * math.log(128)),
        "|loss/explained": constant(6.065),
        "cross_entropy|loss/weight": constant(1.25),
    }
    found, _ = judge(learning(**overrides))
    assert "6.0650 (1.25 ln 128)" in found["EG401"].message


def test_a_loss_with_unknown_terms_is_not_judged_against_chance():
    found, _ = judge(learning(**(COLLAPSE | {"|loss/total": constant(9.0)})))
    assert "EG401" not in found


def test_rank_collapse():
    found, _ = judge(
        learning(**{"image[:64]|embedding/effective_rank": constant(1.4), "w|update/ratio": constant(0.01)})
    )
    assert set(found) == {"EG302"}


def test_queries_alike_while_nothing_is_learned():
    overrides = COLLAPSE | {
        "image.attention|attention/effective_num_outputs": lambda t: [1.5, 1.2] if t < 8 else [1.0, 1.0]
    }
    assert judge(learning(**overrides))[0]["EG102"].because_of == "EG301"


def test_identical_rows_that_train_stay_identical():
    found, _ = judge(learning(**{"w|weight/row_signal": constant(0.0)}))
    assert found["EG002"].site == "w"
    still = judge(learning(**{"w|weight/row_signal": constant(0.0), "w|update/ratio": constant(0.0)}))[0]
    assert "EG002" not in still


AT_CHANCE = {"|loss/total": constant(4.852), "|loss/explained": constant(4.852)}


def test_updates_that_replace_the_weights_of_a_model_that_does_not_learn():
    found, _ = judge(learning(**AT_CHANCE, **{"w|update/ratio": constant(0.3)}))
    assert found["EG202"].focus == "w"
    assert found["EG202"].severity == "warning"
    assert found["EG202"].step == 20


def test_large_updates_that_ended_with_a_collapse_remain_its_cause():
    at_first = {"w|update/ratio": lambda t: 0.3 if t < 9 else 0.0}
    found, _ = judge(learning(**AT_CHANCE, **at_first))
    assert found["EG202"].step == 20
    assert found["EG202"].evidence["step"] == 8


def test_large_updates_of_a_model_that_learns_or_whose_loss_is_unknown_are_no_warning():
    assert "EG202" not in judge(learning(**{"w|update/ratio": constant(0.3)}))[0]
    found, _ = judge(learning(**{"w|update/ratio": constant(0.3), "|loss/chance": None}))
    assert found["EG202"].severity == "info"


def test_large_updates_that_end_in_nan_are_named_at_once():
    broken = {"|loss/total": lambda t: 4.852 if t < 8 else math.nan}
    found, _ = judge(learning(**broken, **{"w|update/ratio": constant(0.3)}))
    assert found["EG202"].step == 8
    assert found["EG801"].because_of == "EG202"


def test_large_updates_that_leave_nan_weights_are_named():
    broken = {
        "|loss/total": lambda t: 4.852 if t < 8 else math.nan,
        "w|weight/norm": lambda t: 8.0 if t < 8 else math.nan,
    }
    found, _ = judge(learning(**broken, **{"w|update/ratio": lambda t: 0.3 if t < 8 else math.nan}))
    assert found["EG202"].focus == "w"


def test_a_worse_fault_is_never_milder():
    ranks = []
    for ratio in (0.01, 0.09, 0.11, 1.0, 10.0):
        found = judge(learning(**AT_CHANCE, **{"w|update/ratio": constant(ratio)}))[0]
        ranks.append(found["EG202"].severity.rank if "EG202" in found else -1)
    assert ranks == sorted(ranks)


def test_a_cosine_past_its_horizon():
    def rate(t):
        return 1e-3 * 0.5 * (1 + math.cos(math.pi * t / 300))

    found, _ = judge(learning(**{"group0|optimizer/lr": rate}))
    assert abs(found["EG203"].evidence["at"] - 300) <= 4


def test_a_nan_names_the_first_module():
    sites = [module("late", 5), module("early", 1)]
    windows = [
        window(0, {("", "loss/total"): 4.0}, sites),
        window(
            1,
            {("", "loss/total"): math.nan, ("late", "activation/nonfinite"): 4, ("early", "activation/nonfinite"): 2},
            describe=False,
        ),
    ]
    found, _ = judge(windows)
    assert found["EG801"].site == "early"


def test_overwritten_draws_are_named_with_both_places():
    first = ParameterWrite("randn", "model.py", 10, 1.0, random=True)
    last = ParameterWrite("normal_", "model.py", 11, 0.02, random=True)

    def found(*writes):
        origin = ParameterOrigin("latents", (64, 8), writes[-1].std, writes)
        return judge([Window(0, (), (), (origin,))])[0].get("EG001")

    finding = found(first, last)
    assert "model.py:10" in finding.message
    assert "model.py:11" in finding.message
    assert finding.severity == Severity.INFO
    assert found(ParameterWrite("uniform_", "linear.py", 3, 0.5, random=True, default=True), last) is None
    assert found(ParameterWrite("zeros", "model.py", 10, 0.0), last) is None
    assert found(first, last, ParameterWrite("load_state_dict", "x.py", 1, 0.5, default=True)) is None
    assert found(first, ParameterWrite("normal_", "model.py", 11, 1.0, random=True)) is None


def metrics(**values):
    return window(400, {("", f"metric/{name.replace('__', '/')}"): v for name, v in values.items()})


def test_recall_of_exactly_k_over_n():
    exact = {f"{way}__R@{k}": k / 2984 for way in ("i2t", "t2i") for k in (1, 5, 10)}
    _, engine = judge([metrics(n=2984, **exact)])
    assert {f.site for f in engine.findings} == {"i2t", "t2i"}
    scattered = exact | {"i2t__R@5": 6 / 2984, "t2i__R@1": 2 / 2984}
    assert judge([metrics(n=2984, **scattered)])[0] == {}


def test_a_validation_loss_of_zero_beside_its_recalls():
    windows = [*learning(), metrics(n=2984, val__loss=0.0, **{"i2t__R@10": 0.89})]
    found, _ = judge(windows)
    assert "val/loss = 0 " in found["EG402"].message
    fine = [*learning(), metrics(n=2984, val__loss=0.76, **{"i2t__R@10": 0.89})]
    assert judge(fine)[0] == {}


def test_a_cause_found_later_is_no_cause():
    overrides = COLLAPSE | {"w|update/ratio": lambda t: 0.01 if t < 200 else 0.5}
    assert judge(learning(**overrides))[0]["EG301"].because_of is None


def test_findings_are_stable_once_made():
    _, engine = judge(learning(**COLLAPSE))
    steps = {f.key: f.step for f in engine.findings}
    engine.feed(next(iter(learning(steps=[STEPS[-1] + 4], **COLLAPSE))))
    assert {f.key: f.step for f in engine.findings if f.key in steps} == steps


def test_gains_of_ones_that_hardly_move_under_warm_up_are_no_identical_rows():
    warm = {"w|weight/row_signal": constant(1e-13), "w|update/ratio": lambda t: 1e-7}
    assert "EG002" not in judge(learning(**warm))[0]
    moved = warm | {"w|update/ratio": constant(1e-3)}
    assert judge(learning(**moved))[0]["EG002"].severity == "critical"


def test_a_scale_that_is_too_small_is_named_instead_of_constant_embeddings():
    small = {"image[:64] x text[:64]|embedding/scale": constant(0.07), **AT_CHANCE, "w|update/ratio": constant(0.02)}
    varied = {"image[:64]|embedding/sample_signal": constant(0.98), "cross_entropy|loss/logit_std": constant(0.01)}
    found, _ = judge(learning(**small, **varied))
    assert "EG301" not in found
    assert found["EG403"].evidence["floor"] == pytest.approx(4.78, abs=0.01)
    assert found["EG401"].because_of == "EG403"
    for scale in (10.0, 14.3, 100.0):
        healthy = {"image[:64] x text[:64]|embedding/scale": constant(scale)}
        assert "EG403" not in judge(learning(**healthy))[0]


def test_two_dimensions_have_no_more_than_two():
    low = {"image[:64]|embedding/effective_rank": constant(1.9), "w|update/ratio": constant(0.02)}
    assert "EG302" in judge(learning(**low))[0]
    narrow = {"image[:2]|embedding/effective_rank": constant(1.9), "w|update/ratio": constant(0.02)}
    assert "EG302" not in judge(learning(**narrow))[0]


def test_with_several_captions_chance_is_that_of_each_direction():
    """200 pictures of 5 captions: a constant side ties all captions, R@10 = 1 - C(995, 10) / C(1000, 10)."""
    tied = {k: 1 - math.comb(995, k) / math.comb(1000, k) for k in (1, 5, 10)}
    assert tied[10] < 0.99 * 10 / 200
    chance = {f"i2t__chance@{k}": value for k, value in tied.items()}
    single = {f"t2i__R@{k}": k / 200 for k in (1, 5, 10)}
    constant = {**chance, **single, **{f"i2t__R@{k}": value for k, value in tied.items()}}
    assert {f.site for f in judge([metrics(n=200, **constant)])[1].findings} == {"i2t", "t2i"}
    one_ranking = {**chance, **single, **{f"i2t__R@{k}": k / 200 for k in (1, 5, 10)}}
    assert {f.site for f in judge([metrics(n=200, **one_ranking)])[1].findings} == {"i2t", "t2i"}
    varied = {**constant, "i2t__R@5": tied[5] + 1 / 200}
    assert {f.site for f in judge([metrics(n=200, **varied)])[1].findings} == {"t2i"}


def test_gradients_that_pile_up_are_a_warning_while_the_model_learns_by_them():
    uncleared = {"|gradient/uncleared": constant(3.0), "|gradient/norm": lambda t: t + 1.0}
    assert judge(learning(**uncleared))[0]["EG211"].severity == "warning"
    assert judge(learning(**uncleared, **CHANCE))[0]["EG211"].severity == "critical"
    assert "EG211" not in judge(learning(**uncleared | {"|gradient/uncleared": constant(0.0)}))[0]
