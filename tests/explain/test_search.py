"""Delta debugging with synthetic oracles whose answer is known."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeglass_diag.replaying.search import Count, ddmin, search

NAMES = ["batch", "horizon", "init", "lr", "norm", "pooling", "width"]


class SyntheticOracle:
    """An oracle over sets of changes; ``hits`` returns for a set how many of three seeds have the effect."""

    def __init__(self, hits: Callable[[frozenset], int | None]):
        self.hits, self.asked = hits, []

    def __call__(self, sets):
        self.asked += [each for each in sets if each not in self.asked]
        return {each: None if (hits := self.hits(each)) is None else Count(hits, 3) for each in sets}


def holds(condition):
    return SyntheticOracle(lambda changed: 3 if condition(changed) else 0)


def test_a_single_cause():
    found = search(NAMES, holds(lambda s: "lr" in s))
    assert found.sets == [{"lr"}]
    assert str(found.singles["lr"]) == "3/3"
    assert {str(count) for name, count in found.singles.items() if name != "lr"} == {"0/3"}
    assert not found.flaky


@pytest.mark.parametrize("both", [{"lr", "norm"}, {"batch", "width"}, {"init", "pooling"}])
def test_two_causes_that_act_only_together(both):
    oracle = holds(lambda s: both <= s)
    found = search(NAMES, oracle)
    assert found.sets == [both]
    assert str(found.counts[frozenset(both)]) == "3/3"
    assert {str(count) for count in found.singles.values()} == {"0/3"}
    assert len(oracle.asked) < 2 ** len(NAMES) / 3


def test_needed_changes_are_tried_together_before_the_search():
    causes = {"lr", "norm", "pooling"}
    oracle = holds(lambda s: causes <= s)
    found = search(NAMES, oracle, needed=causes)
    assert found.sets == [frozenset(causes)]
    assert len(oracle.asked) == len(NAMES) + 2


def test_needed_changes_may_not_suffice():
    causes = {"lr", "norm", "pooling"}
    found = search(NAMES, holds(lambda s: causes <= s), needed=sorted(causes)[:2])
    assert found.sets == [frozenset(causes)]


def test_two_sufficient_causes():
    found = search(NAMES, holds(lambda s: "lr" in s or "norm" in s))
    assert found.sets == [{"lr"}, {"norm"}]


def test_no_cause_at_all():
    found = search(NAMES, holds(lambda s: False))
    assert found.sets == []


def test_a_flaky_cause_is_flaky():
    found = search(NAMES, SyntheticOracle(lambda s: 3 if len(s) > 1 and "lr" in s else 2 if "lr" in s else 0))
    assert found.sets == [{"lr"}]
    assert found.flaky == [{"lr"}]
    seldom = search(NAMES, SyntheticOracle(lambda s: 3 if {"lr", "norm"} <= s else 1 if "lr" in s else 0))
    assert seldom.sets == [{"lr", "norm"}]
    assert frozenset({"lr"}) in seldom.flaky


def test_settings_compatible_only_together_are_found_together():
    """pooling and width are possible only together; they are the cause."""
    together = {"pooling", "width"}
    found = search(NAMES, SyntheticOracle(lambda s: None if len(together & s) == 1 else 3 if together <= s else 0))
    assert found.sets == [together]
    assert found.singles["pooling"] is None


def test_a_spent_budget_keeps_the_best_set():
    asked = []

    def oracle(changed):
        asked.append(changed)
        return None if len(asked) > 9 else 3 if {"lr", "norm"} <= changed else 0

    found = search(NAMES, SyntheticOracle(oracle))
    assert {"lr", "norm"} <= found.sets[0]


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.sets(st.sampled_from(NAMES), min_size=1))
def test_the_result_of_ddmin_is_sufficient_and_minimal(one, other):
    """Monotone oracles with two sufficient sets."""
    oracle = holds(lambda s: one <= s or other <= s)
    smallest = ddmin(NAMES, oracle)
    assert oracle.hits(smallest)
    assert not any(oracle.hits(smallest - {name}) for name in smallest if len(smallest) > 1)
