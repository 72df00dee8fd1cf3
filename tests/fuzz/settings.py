"""Recipes in YAML, ``pyproject.toml``, and the options of the command line."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.fuzz.command_line import Refused, run
from tests.fuzz.inputs import Input, Reader
from tests.fuzz.mutations import NUMBERS, TOKENS

RECIPE: dict[str, Any] = {
    "name": "small", "description": "some words", "seed": 3, "tower": {"model": "tiny_clip"},
    "data": {"train": 8, "val": 4, "test": 4},
    "model": {"pooling": "attention", "width": 16, "mrl_dims": [16, 8], "temperature": 0.07},
    "loss": {"clip_weight": 0.25, "mrl_weight": 1.0}, "optim": {"lr": 8.0e-4, "betas": [0.9, 0.95]}, "train": {"batch_size": 4, "epochs": 1},
}  # fmt: skip
PERCEIVER = {
    **RECIPE,
    "model": {"pooling": "perceiver", "width": 16, "mrl_dims": [16], "latent_width": 8, "latents": 2, "heads": 2},
}
BOMBS = (
    "name: small\nx: &x [*x]\n", "a: &a [x,x]\nb: &b [*a,*a]\n" + "".join(f"c{i}: &c{i} [{','.join(['*' + ('b' if i == 0 else f'c{i - 1}')] * 9)}]\n" for i in range(30)),
    "a: &a {b: *a}\n", "&a [*a]", "&a {name: *a}", "name: &n {n: *n}\nmodel: *n\n", "[" * 5000, "{a: " * 3000, "- " * 3000, "name: !!python/object/apply:os.system [x]\n",
    "name: !!timestamp 9999999-01-01\n", "name: 2001-99-99\n", "name: !!int 0x\n", "name: !!float x\n", "? [a]\n: b\n", "? {a: b}\n: c\n", "<<: {a: 1}\nname: x\n", "name: &x !!binary =\n",
    "name: a\nname: b\n", "a: 1:2:3\n", "seed: 1_0\n", "seed: 0b1\n", "seed: 190:20:30\n", "%YAML 9.9\n---\nname: x\n", "--- 1\n--- 2\n", "name: \"\\ud800\"\n", "recipes: [x.yaml]\nname: y\n",
    "recipes: [recipe.yaml]\nname: y\n", "recipes: [recipe.yaml, recipe.yaml]\nname: y\n", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "",
)  # fmt: skip


def _places(section: dict[str, Any], place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, held in section.items():
        found.append((*place, key))
        if isinstance(held, dict):
            found += _places(held, (*place, key))
    return found


def odd_value(random: Random) -> Any:
    """Return a value of any kind that YAML or TOML has."""
    return random.choice((
        0, -1, 1, 2.5, 1e308, 5e-324, float("inf"), float("nan"), 10**12, 2**63, -(2**70), True, None, "", "words", "a" * 300, [], {}, [1, "a"],
        {"a": {"b": [1]}}, "1e-3", "0x10", [[1]], "tiny_clip", "/dev/zero", "\x1b[31m", "no\nline", 10**400,
    ))  # fmt: skip


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
        Refused: for what is none.
    """
    from edgeglass_models.recipes.loading import load_recipes

    try:
        load_recipes(str(folder / "recipe.yaml"), given.arguments[2:])
    except ValueError as error:
        said(error)


def said(error: ValueError) -> None:
    """Raise Refused for an error of one line, which is what the command line prints.

    Raises:
        Refused: for one line.
    """
    from edgeglass_diag.errors import UsageError
    from tests.fuzz.command_line import LONGEST, BrokenPromise

    text = str(UsageError(str(error)))
    if type(error) is not ValueError and not isinstance(error, UsageError):
        raise error
    if not text.isprintable() or len(text) > LONGEST:
        raise BrokenPromise(f"not one line: {text[:300]!r}")
    raise Refused(text)


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


_TOML = '[project]\nname = "x"\n[tool.edgeglass-diag]\nselect = ["EG1", "EG301"]\nignore = ["EG101"]\n[tool.edgeglass-diag.EG301]\nsignal = 0.02\n'


def toml(random: Random) -> Input:
    """Return a configuration with values of any kind at any key, and a threshold that must be read."""
    if random.random() < 0.4:
        threshold = random.uniform(1e-6, 1)
        return Input(
            {"pyproject.toml": f"[tool.edgeglass-diag.EG301]\nsignal = {threshold!r}\n".encode()},
            ("findings", "none"),
            threshold,
        )
    value = random.choice((
        "1", "-1", "1.5", "inf", "nan", "true", '"words"', "[]", "[1]", '["EG1"]', "{}", "{a = 1}", "1979-05-27", "[[1]]", "9" * 400, '"EG1"', '[""]',
        "1" + "0" * 5000, "[" * 3000, "{a = " * 3000, '"' + "a" * 300 + '"', "5e-324", "1e999", "0x10", '["\\u001b[31m"]',
    ))  # fmt: skip
    line = random.choice((
        "tool = {0}", "[tool]\nedgeglass-diag = {0}", "[[tool]]\nx = {0}", "[[tool.edgeglass-diag]]\nselect = {0}", "[tool.edgeglass-diag]\nselect = {0}",
        "[tool.edgeglass-diag]\nignore = {0}", "[tool.edgeglass-diag]\nEG301 = {0}", "[tool.edgeglass-diag.EG301]\nsignal = {0}", "[tool.edgeglass-diag.EG301]\nx = {0}",
        "[tool.edgeglass-diag.EG101]\nwindows = {0}", "[tool.edgeglass-diag]\n\"{0}\" = 1", "x = {0}", "[tool.edgeglass-diag]\nselect = [{0}]\n[tool.edgeglass-diag]\nselect = []",
    ))  # fmt: skip
    return Input({"pyproject.toml": line.replace("{0}", value).encode()}, ("findings", "none"))


def read_toml(folder: Path) -> float:
    """Return the threshold that is read."""
    from edgeglass_diag.rules.choice import choose_rules

    (rule,) = choose_rules(["EG301"], folder)
    return float(rule.thresholds["signal"])


def configure(folder: Path, given: Input) -> None:
    """Choose the rules as every command does.

    Raises:
        Refused: for a configuration that is wrong.
    """
    from edgeglass_diag.rules.choice import choose_rules

    try:
        choose_rules(None, folder)
    except ValueError as error:
        said(error)


WORDS = (
    *TOKENS, *NUMBERS, "a" * 300, "/dev/zero", "/dev/null", "/dev/full", "folder", "nowhere", "log.csv", "pipe", "broken-link", "/", ".", "..", "", "~", "-", "--",
    "--json", "recipe.yaml", "no/such/file.csv", "log.csv/x", "/proc/self/mem", "/proc/self/environ", "folder.yaml", "zero.csv", "pipe.csv", "pipe.json", "folder.csv", "folder.npy",
    "zero.npy", "x.py", "a.b:c", "EG301", "EG", "EG301.signal=0.1", "EG301.signal=" + "9" * 400, "EG101.windows=1.5", "EG301.signal=nan", "critical", "cpu", "meta", "cuda:99", "mps",
    "hpu", "xla", "html", "128,64", "0", "9" * 5000, "val_loss=x", "ignore=train_loss", "EG301.signal=" + "9" * 5000,
)  # fmt: skip
VERBS: dict[str, tuple[str, ...]] = {
    "audit": ("--column", "--batch-size", "--fail-on", "--json"),
    "eval": (
        "--split",
        "--data",
        "--set",
        "--dims",
        "--device",
        "--figures",
        "--format",
        "--theme",
        "--json",
        "--no-curve",
    ),
    "findings": ("--fail-on", "--json"),
    "compare": ("--json",),
    "rules": ("--json",),
    "report": ("--out", "--notebook", "--split", "--json"),
    "attribute": ("--split", "--pairs", "--sample", "--steps", "--out", "--json"),
    "check": ("--set", "--select", "--ignore", "--threshold", "--fail-on", "-m"),
    "nothing": ("--version", "--help"),
}
_VALUED = {"--json": (), "--no-curve": (), "--help": (), "--version": ()}


def options(random: Random) -> Input:
    """Return a command line of a verb with words of any kind, beside files that are none."""
    verb = random.choice(list(VERBS))
    words = [random.choice(WORDS) for _ in range(random.choice((0, 1, 1, 1, 2)))]
    for option in random.sample(VERBS[verb], random.randint(0, min(2, len(VERBS[verb])))):
        words += [option, *_VALUED.get(option, (random.choice(WORDS),))]
    if verb == "check":  # a word that names a program would run it
        words = ["recipe.yaml", *(word for word in words[1:] if word not in ("x.py", "-m"))]
    given = [word.replace("\x00", "") for word in words]  # which no command line can hold
    files = {"log.csv": b"step,train_loss\n0,5.0\n1,4.0\n", "recipe.yaml": yaml.safe_dump(RECIPE).encode()}
    return Input(files, (verb, *(word.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for word in given)))


def odd_places(folder: Path) -> None:
    """Make what a name may stand for besides a file: folders, pipes, devices, links to nothing."""
    import os

    for name in ("folder", "folder.yaml", "folder.csv", "folder.npy"):
        (folder / name).mkdir()
    for name in ("pipe", "pipe.csv", "pipe.json"):
        os.mkfifo(folder / name)
    for name in ("zero.csv", "zero.npy"):
        (folder / name).symlink_to("/dev/zero")
    (folder / "broken-link").symlink_to("nothing")


def run_beside_odd_places(folder: Path, given: Input) -> None:
    """Run the command line where names stand for other things than files.

    Raises:
        Refused: for wrong use.
    """
    odd_places(folder)
    run(folder, given)


def _recipe_seeds() -> list[Input]:
    return [
        Input({"recipe.yaml": yaml.safe_dump(one).encode()}, ("check", "recipe.yaml")) for one in (RECIPE, PERCEIVER)
    ]


SETTINGS = (
    Reader("recipe: YAML", cache(_recipe_seeds), recipe, plan_recipe, read_recipe),
    Reader("recipe: check", cache(_recipe_seeds), recipe, run, None, 0.3),
    Reader("recipe: --set", cache(_recipe_seeds), overrides, plan_recipe, None, 0.5),
    Reader("pyproject.toml", cache(lambda: [Input({"pyproject.toml": _TOML.encode()})]), toml, configure, read_toml),
    Reader("options", lambda: (), options, run_beside_odd_places),
)
