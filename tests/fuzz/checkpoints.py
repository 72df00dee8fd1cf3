"""Checkpoints for ``eval``: safetensors files whose metadata name a recipe."""

from __future__ import annotations

from functools import cache
from random import Random

from tests.fuzz.arrays import safetensors_bytes
from tests.fuzz.command_line import run
from tests.fuzz.inputs import Input, Reader
from tests.fuzz.mutations import TOKENS


def checkpoint(random: Random) -> Input:
    """Return a file that says it is a checkpoint of a recipe, with metadata and tensors that are none."""
    recipe = random.choice(
        (
            "{}",
            "null",
            "[1]",
            "1e400",
            '{"model": 3}',
            "[" * 3000,
            random.choice(TOKENS),
            '{"data": {"path": "/dev/zero"}}',
        )
    )
    metadata = {"recipe": recipe.encode("utf-8", "replace").decode(), "step": random.choice(("1", "x", "9" * 5000, ""))}
    content = safetensors_bytes({"model.scale": ("F32", [1], bytes(4))}, metadata)
    return Input(
        {"c.safetensors": content},
        ("eval", "c.safetensors", *random.choice(((), ("--set", "data.path=x"), ("--data", "x.csv")))),
    )


def _seeds() -> list[Input]:
    return [checkpoint(Random(number)) for number in range(8)]


CHECKPOINTS = (Reader("checkpoint", cache(_seeds), checkpoint, run, share=0.3),)
