"""Command lines that are told apart and mixed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeglass_diag.replaying.arguments import differing_arguments, options_of, with_options

LINES = [
    ["--lr", "2e-3", "--epochs", "3"],
    ["fit", "--model.lr=1e-3", "-b", "32", "data/train"],
    ["optimizer.lr=0.1", "+trainer.fast=true", "model=vit"],
    ["--betas", "0.9", "-0.1", "--set", "a=1", "--set", "b=2", "--bf16"],
    ["--lr=1", "--", "--not-an-option", "x"],
    [],
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_its_options_in_order(line):
    assert [word for option in options_of(line) for word in option.words] == line
    assert len({option.name for option in options_of(line)}) == len(options_of(line))


@pytest.mark.parametrize("failing", LINES)
@pytest.mark.parametrize("healthy", LINES)
def test_all_changes_together_make_the_other_line_up_to_its_order(failing, healthy):
    changes = {name: well for name, (_, well) in differing_arguments(failing, healthy).items()}
    mixed = with_options(failing, changes)
    assert differing_arguments(mixed, healthy) == {}
    assert with_options(failing, {}) == tuple(failing)


@pytest.mark.parametrize(
    ("failing", "healthy", "expected"),
    [
        (["--lr", "2e-3"], ["--lr=2e-3"], {}),
        (["--lr", "-1"], ["--lr", "1"], {"--lr": ("-1", "1")}),
        (["lr=1", "m=2"], ["m=3", "lr=1"], {"m": ("2", "3")}),
        (["a.yaml", "--x"], ["b.yaml", "--x"], {"argument 1": ("a.yaml", "b.yaml")}),
        (["--set", "a=1", "--set", "b=1"], ["--set", "a=1", "--set", "b=2"], {"--set #2": ("b=1", "b=2")}),
        (["--flag"], [], {"--flag": ("given", None)}),
        (["--text", ""], ["--text", "x"], {"--text": ("given", "x")}),
    ],
)
def test_options_that_differ_are_named_with_both_values(failing, healthy, expected):
    found = differing_arguments(failing, healthy)
    assert {name: tuple(one and one.value for one in both) for name, both in found.items()} == expected


@given(st.lists(st.text("-=ab1. ", max_size=5), max_size=8))
def test_no_word_of_any_line_is_lost(line):
    assert [word for option in options_of(line) for word in option.words] == line
