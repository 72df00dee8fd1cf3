"""Recipes in YAML, and ``--set``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.fuzz.command_line import RefusedError, run
from tests.fuzz.inputs import Input, Reader
from tests.fuzz.mutations import TOKENS

RECIPE: dict[str, Any] = {
    "name": "small",
    "description": "some words",
    "seed": 3,
    "tower": {"model": "tiny_clip"},
    "data": {"train": 8, "val": 4, "test": 4},
    "model": {"pooling": "attention", "width": 16, "mrl_dims": [16, 8], "temperature": 0.07},
    "loss": {"clip_weight": 0.25, "mrl_weight": 1.0},
    "optim": {"lr": 8.0e-4, "betas": [0.9, 0.95]},
    "train": {"batch_size": 4, "epochs": 1},
}
PERCEIVER = {
    **RECIPE,
    "model": {"pooling": "perceiver", "width": 16, "mrl_dims": [16], "latent_width": 8, "latents": 2, "heads": 2},
}
BOMBS = (
    "name: small\nx: &x [*x]\n",
    "a: &a [x,x]\nb: &b [*a,*a]\n"
    + "".join(f"c{i}: &c{i} [{','.join(['*' + ('b' if i == 0 else f'c{i - 1}')] * 9)}]\n" for i in range(30)),
    "a: &a {b: *a}\n",
    "&a [*a]",
    "&a {name: *a}",
    "name: &n {n: *n}\nmodel: *n\n",
    "[" * 5000,
    "{a: " * 3000,
    "- " * 3000,
    "name: !!python/object/apply:os.system [x]\n",
    "name: !!timestamp 9999999-01-01\n",
    "name: 2001-99-99\n",
    "name: !!int 0x\n",
    "name: !!float x\n",
    "? [a]\n: b\n",
    "? {a: b}\n: c\n",
    "<<: {a: 1}\nname: x\n",
    "name: &x !!binary =\n",
    "name: a\nname: b\n",
    "a: 1:2:3\n",
    "seed: 1_0\n",
    "seed: 0b1\n",
    "seed: 190:20:30\n",
    "%YAML 9.9\n---\nname: x\n",
    "--- 1\n--- 2\n",
    'name: "\\ud800"\n',
    "recipes: [x.yaml]\nname: y\n",
    "recipes: [recipe.yaml]\nname: y\n",
    "recipes: [recipe.yaml, recipe.yaml]\nname: y\n",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs [a: 1]",
    "",
)


def _places(section: dict[str, Any], place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, held in section.items():
        found.append((*place, key))
        if isinstance(held, dict):
            found += _places(held, (*place, key))
    return found


def odd_value(random: Random) -> Any:
    """Return a value of any kind that YAML or TOML has."""
    return random.choice(
        (
            0,
            -1,
            1,
            2.5,
            1e308,
            5e-324,
            float("inf"),
            float("nan"),
            10**12,
            2**63,
            -(2**70),
            True,
            None,
            "",
            "words",
            "a" * 300,
            [],
            {},
            [1, "a"],
            {"a": {"b": [1]}},
            "1e-3",
            "0x10",
            [[1]],
            "tiny_clip",
            "/dev/zero",
            "\x1b[31m",
            "no\nline",
            10**400,
        )
    )


def recipe(random: Random) -> Input:
    """Return a recipe as it is, with values of other kinds at some places, or a document that no reader can walk."""
    kind = random.randrange(4)
    arguments = ("check", "recipe.yaml")
    if kind == 0:
        return Input({"recipe.yaml": random.choice(BOMBS).encode()}, arguments)
    content = yaml.safe_load(yaml.safe_dump(random.choice((RECIPE, PERCEIVER))))
    content["seed"], content["optim"]["lr"] = random.randint(0, 2**31), random.uniform(1e-6, 1e-2)
    if kind == 1:
        return Input({"recipe.yaml": yaml.safe_dump(content).encode()}, arguments, content)
    for _ in range(random.choice((1, 1, 2))):
        *sections, key = random.choice(_places(content))
        inner = content
        for name in sections:
            inner = inner.get(name, {})
        if not isinstance(inner, dict):
            continue
        inner[random.choice((key, key, key, "x"))] = odd_value(random)
    return Input({"recipe.yaml": yaml.safe_dump(content, allow_unicode=True).encode()}, arguments)


def read_recipe(folder: Path) -> dict[str, Any]:
    """Return the settings that are read, at the places that the file names."""
    from edgeglass_models.recipes.loading import load_recipes

    (found,) = load_recipes(str(folder / "recipe.yaml"))
    written = yaml.safe_load((folder / "recipe.yaml").read_text())
    return _at(found.model_dump(mode="json"), written)


def _at(held: Any, wanted: Any) -> Any:
    return {key: _at(held[key], inner) for key, inner in wanted.items()} if isinstance(wanted, dict) else held


def plan_recipe(folder: Path, given: Input) -> None:
    """Read a recipe as ``run`` and ``check`` do, without building its model.

    Raises:
        RefusedError: for what is none.
    """
    from edgeglass_models.recipes.loading import load_recipes

    try:
        load_recipes(str(folder / "recipe.yaml"), given.arguments[2:])
    except ValueError as error:
        said(error)


def said(error: ValueError) -> None:
    """Raise RefusedError for an error of one line, which is what the command line prints.

    Raises:
        RefusedError: for one line.
    """
    from edgeglass_diag.errors import UsageError
    from tests.fuzz.command_line import LONGEST, BrokenPromiseError

    text = str(UsageError(str(error)))
    if type(error) is not ValueError and not isinstance(error, UsageError):
        raise error
    if not text.isprintable() or len(text) > LONGEST:
        raise BrokenPromiseError(f"not one line: {text[:300]!r}")
    raise RefusedError(text)


def overrides(random: Random) -> Input:
    """Return a recipe with ``--set`` of any form."""
    keys = (
        "seed",
        "optim.lr",
        "model.mrl_dims",
        "model",
        "data.path",
        "x",
        "optim.x",
        "seed.x",
        "",
        ".",
        "a..b",
        "train.batch_size",
        "a" * 300,
    )
    values = (*TOKENS, *BOMBS, "1", "1e-3", "[1, 2]", "{a: 1}")
    word = f"{random.choice(keys)}{random.choice(('=', '=', '=', '', '=='))}{random.choice(values)}"
    return Input({"recipe.yaml": yaml.safe_dump(RECIPE).encode()}, ("check", "recipe.yaml", word))


def _recipe_seeds() -> list[Input]:
    return [
        Input({"recipe.yaml": yaml.safe_dump(one).encode()}, ("check", "recipe.yaml")) for one in (RECIPE, PERCEIVER)
    ]


RECIPES = (
    Reader("recipe: YAML", cache(_recipe_seeds), recipe, plan_recipe, read_recipe),
    Reader("recipe: check", cache(_recipe_seeds), recipe, run, None, 0.3),
    Reader("recipe: --set", cache(_recipe_seeds), overrides, plan_recipe, None, 0.5),
)
