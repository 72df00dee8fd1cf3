"""Streaks are those of the definition, whatever was remembered, and two questions never share an answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.thinning import FIRST, MOST, NEWEST


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
