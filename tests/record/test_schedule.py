"""Which windows are recorded: dense at the start, regular where asked for, further and further apart in a long run."""

import json
from itertools import pairwise

import pytest
import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.schedule import LONGEST, USUAL, Schedule


def recorded(schedule, steps):
    return [step for step in range(steps) if schedule(step)]


def test_the_usual_windows_of_the_first_thousand_steps_are_regular():
    assert recorded(Schedule.of(None), 1000) == recorded(Schedule(every=USUAL), 1000)


def test_windows_grow_apart_with_the_run_and_no_further_than_the_longest_distance():
    steps = recorded(Schedule.of(None), 50_000)
    assert all(later - step <= max(USUAL, min(LONGEST, step // 50 + USUAL)) for step, later in pairwise(steps))
    assert {later - step for step, later in pairwise(steps) if step > 100 * LONGEST} == {LONGEST}
    assert len(steps) < 50_000 / 80


def test_windows_that_are_further_apart_lie_among_those_that_are_not():
    assert set(recorded(Schedule.of(None), 20_000)) <= set(recorded(Schedule(every=USUAL), 20_000))


@pytest.mark.parametrize("every", [1, 7, 40])
def test_a_distance_that_is_asked_for_stays(every):
    steps = recorded(Schedule.of(every), 9000)
    assert {later - step for step, later in pairwise(steps) if step > 1000} == {every}


def test_a_longest_distance_below_the_usual_one_is_refused():
    with pytest.raises(ValueError, match=r"^longest must be at least every \(10\), got 5$"):
        Schedule(longest=5)


@pytest.mark.parametrize(
    ("options", "facts"), [({}, {"every": USUAL, "longest": LONGEST}), ({"every": 3}, {"every": 3})]
)
def test_the_header_of_a_run_says_what_was_recorded(tmp_path, options, facts):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with eg.watch(model, optimizer, out=tmp_path / "run", **options):
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {key: header[key] for key in ("every", "longest") if key in header} == facts
