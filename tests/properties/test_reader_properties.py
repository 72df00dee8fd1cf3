"""Whatever a file of a reader's structure holds: a result or one line, and of a valid file the numbers that it has.

The structures are those of ``make fuzz``; here hypothesis draws them, and shrinks what fails.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeglass_diag.auditing.logged import decimals, rounding
from edgeglass_diag.auditing.readers.table_text import numbers
from edgeglass_diag.errors import LONGEST, UsageError, one_line
from edgeglass_diag.user_input.json_text import depth, parse_json
from tests.fuzz.inputs import Input
from tests.fuzz.mutations import mutated
from tests.fuzz.outcomes import REFUSED, RESULT, outcome, same
from tests.fuzz.readers import READERS

OF_ITS_OWN = ("checkpoint", "recipe: check", "options", "run: run.json", "run: store")
"""Readers that take long, or whose promise is tested with the store."""
TRIED = [reader for reader in READERS if reader.name not in OF_ITS_OWN]
RANDOM = st.randoms(use_true_random=False)
EXAMPLES = settings().max_examples // 2  # there is a test for each reader


@pytest.mark.parametrize("reader", TRIED, ids=lambda reader: reader.name)
@settings(max_examples=EXAMPLES)
@given(random=RANDOM)
def test_a_structure_gives_its_numbers_or_one_line(reader, random):
    found = outcome(reader, reader.generate(random))
    assert found.kind in (RESULT, REFUSED), found


@pytest.mark.parametrize(
    "reader", [reader for reader in TRIED if reader.name != "data: patterns"], ids=lambda reader: reader.name
)
@settings(max_examples=EXAMPLES)
@given(random=RANDOM)
def test_changed_bytes_give_a_result_or_one_line(reader, random):
    seed = random.choice(reader.seeds())
    name = random.choice(sorted(seed.files))
    changed = mutated(random, seed.files[name], list(seed.files.values()))
    found = outcome(reader, Input({**seed.files, name: changed}, seed.arguments))
    assert found.kind in (RESULT, REFUSED), found


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**300), 10**300) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_as_it_was_written(value):
    assert same(parse_json(json.dumps(value), "x.json"), value)
    assert depth([value]) == 1 + depth(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=1, max_size=5), st.data())
def test_a_key_that_an_object_has_twice_is_said(value, data):
    twice = data.draw(st.sampled_from(sorted(value)))
    members = [f"{json.dumps(key)}: {held}" for key, held in value.items()]
    members.insert(data.draw(st.integers(0, len(members))), f"{json.dumps(twice)}: 1")
    with pytest.raises(UsageError, match=r"expected each key once in an object, got .* 2 times"):
        parse_json(f"{{{', '.join(members)}}}", "x.json")


@given(st.lists(st.none() | st.floats(), max_size=30))
def test_cells_are_read_as_they_were_written(values):
    assert same(numbers(["" if v is None else f" {v!r} " for v in values]), values)


@given(st.lists(st.floats(-1e6, 1e6).map(lambda v: round(v, 4)), min_size=1, max_size=5), st.floats(-1e6, 1e6))
def test_the_digits_of_a_long_column_are_those_of_its_values(values, odd):
    column = [*values * 1100, odd]
    assert rounding(column) == 0.5 * 10.0 ** -max(map(decimals, column))


@given(st.text(max_size=3000))
def test_an_error_is_one_printable_line(text):
    line = str(UsageError(text))
    assert line.isprintable()
    assert len(line) <= LONGEST
    assert one_line(line) == line
