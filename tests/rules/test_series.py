"""Streaks are those of the definition, whatever was remembered, and two questions never share an answer."""

from __future__ import annotations

import math
from array import array
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeglass_diag.rules.packed import SHORT, Rows, Steps
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.thinning import FIRST, MOST, NEWEST, kept_indices


def slow(series, condition):
    """The streak by its definition, from the newest reading back."""
    count = 0
    for step, value in zip(reversed(series.steps), reversed(series.values), strict=True):
        if not condition(step, value):
            break
        count += 1
    return Streak(series.steps[-count], count, series.steps[-1] - series.steps[-count]) if count else None


def below(limit):
    return lambda _, value: value < limit


@given(st.lists(st.tuples(st.sampled_from([0, 1, 1, 10]), st.integers(0, 3), st.booleans()), min_size=1, max_size=60))
def test_what_is_remembered_gives_what_the_definition_gives(readings):
    """Values come, newest ones are replaced (a distance of 0), and questions are asked now and then."""
    series, step = Series(), 0
    for distance, value, asked in readings:
        step += distance
        series.append(step, value)
        if asked:
            for limit in (1, 2, 3):
                assert series.streak(below(limit)) == slow(series, below(limit))


def test_conditions_of_one_text_with_other_limits_are_other_questions():
    series = Series()
    for step in range(5):
        series.append(step, step)
    assert series.streak(below(9)).windows == 5
    assert series.streak(below(3)) is None
    assert series.streak(lambda _, value: value > 2) == Streak(3, 2, 1)
    assert series.streak(lambda _, value: value > 3) == Streak(4, 1, 0)


def test_a_condition_that_captures_another_series_is_its_own_question():
    one, other, third = Series(), Series(), Series()
    for step in range(4):
        one.append(step, 1), other.append(step, step), third.append(step, 0)

    def beyond(limits):
        return one.streak(lambda step, value: limits.at(step) < value)

    assert beyond(other) is None
    assert beyond(third).windows == 4


def test_a_long_series_takes_no_more_room_and_forgets_no_streak():
    series = Series()
    for step in range(5000):
        series.append(10 * step, float(step >= 70))
        state = series.streak(lambda _, value: value == 1)
        assert len(series) < MOST
        assert state == (Streak(700, step - 69, 10 * (step - 70)) if step >= 70 else None)
    assert list(series.steps[:FIRST]) == list(range(0, 10 * FIRST, 10))
    assert list(series.steps[-NEWEST:]) == list(range(50_000 - 10 * NEWEST, 50_000, 10))


def test_what_was_found_last_is_kept_however_long_ago():
    series = Series()
    for step in range(3000):
        series.append(step, float(step == 100))
        newest = series.latest(lambda index: series.values[index] == 1)
        assert (newest is None) == (step < 100)
        assert newest is None or series.steps[newest] == 100


def test_conditions_whose_limit_changes_all_the_time_are_not_kept_for_ever():
    series = Series()
    for step in range(300):
        series.append(step, 0.0)
        assert series.streak(below(1 + step)).windows == step + 1
    assert len(series._streaks) <= 32


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_the_newest_index_is_that_of_the_definition(holds):
    series = Series()
    for step, value in enumerate(holds):
        series.append(step, value)
        expected = max((index for index in range(step + 1) if holds[index]), default=None)
        assert series.latest(lambda index: series.values[index]) == expected


class Plain:
    """A series by its definition: a list of steps and one of values, thinned as ``kept_indices`` says."""

    def __init__(self):
        self.steps, self.values = [], []

    def append(self, step, value):
        if self.steps and self.steps[-1] == step:
            self.values[-1] = value
            return
        self.steps.append(step), self.values.append(value)
        if len(self.steps) >= MOST:
            kept = kept_indices(self.steps)
            self.steps, self.values = [self.steps[i] for i in kept], [self.values[i] for i in kept]


def cadences(random, sites):
    """Which of the sites a window records: all, those of its parity, some, from a window on, up to one."""
    kinds = [random.choice(["all", "even", "odd", "some", "late", "early"]) for _ in range(sites)]
    begins = {"all": lambda _: True, "even": lambda n: n % 2 == 0, "odd": lambda n: n % 2 == 1}
    begins |= {"some": lambda _: random.random() < 0.7, "late": lambda n: n > 200, "early": lambda n: n < 500}
    return [begins[kind] for kind in kinds]


@pytest.mark.parametrize("seed", range(6))
def test_series_that_share_rows_and_steps_hold_what_each_would_hold_alone(seed):
    """Numbers of single and double precision, NaN, infinities; sites that miss windows; readings that are replaced."""
    random = Random(seed)
    rows, sites = Rows(), 12
    due, plain, packed = cadences(random, sites), {}, {}
    for number in range(900):
        step, begun = 10 * number, Steps()
        for site in (one for one in range(sites) if due[one](number)):
            if site not in packed:
                packed[site], plain[site] = Series(rows, begun), Plain()
            value = random.choice([1.0, 0.5, -0.0, math.nan, math.inf, random.random() if seed % 2 else 2.0**-130])
            for series in (packed[site], plain[site]):
                series.append(step, 7.0)
                series.append(step, value)
        for site in packed if random.random() < 0.2 else ():
            assert list(packed[site].steps) == plain[site].steps
            assert packed[site].values.tobytes() == array(packed[site].values.typecode, plain[site].values).tobytes()
    for site, series in packed.items():
        assert list(series.steps) == plain[site].steps
        assert list(map(repr, series.values)) == list(map(repr, plain[site].values))
        assert (repr(series.first), series.last_step) == (repr(plain[site].values[0]), plain[site].steps[-1])


def test_series_of_one_signal_take_the_same_memory_from_their_64th_window_on():
    rows, steps = Rows(), Steps()
    series = [Series(rows, steps) for _ in range(50)]
    sizes = []
    for number in range(1000):
        for site, one in enumerate(series):
            one.append(number, float(site))
        sizes.append(rows.values.buffer_info()[1] * rows.values.itemsize)
        assert all(one.steps is series[0].steps for one in series)
    assert set(sizes[SHORT:]) == {50 * MOST * 4}
    assert sizes[0] == 50 * SHORT * 4


def test_a_series_without_readings_has_no_value():
    for ask in (lambda: Series().first, lambda: Series().last, lambda: Series().last_step, lambda: Series().value(0)):
        with pytest.raises(IndexError):
            ask()
