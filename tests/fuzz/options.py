"""``pyproject.toml``, and the options of the command line."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from random import Random

import yaml

from tests.fuzz.command_line import run
from tests.fuzz.inputs import Input, Reader
from tests.fuzz.mutations import NUMBERS, TOKENS
from tests.fuzz.recipes import RECIPE, said

_TOML = """
[project]
name = "x"
[tool.edgeglass-diag]
select = ["EG1", "EG301"]
ignore = ["EG101"]
[tool.edgeglass-diag.EG301]
signal = 0.02
"""


def toml(random: Random) -> Input:
    """Return a configuration with values of any kind at any key, and a threshold that must be read."""
    if random.random() < 0.4:
        threshold = random.uniform(1e-6, 1)
        return Input(
            {"pyproject.toml": f"[tool.edgeglass-diag.EG301]\nsignal = {threshold!r}\n".encode()},
            ("findings", "none"),
            threshold,
        )
    value = random.choice(
        (
            "1",
            "-1",
            "1.5",
            "inf",
            "nan",
            "true",
            '"words"',
            "[]",
            "[1]",
            '["EG1"]',
            "{}",
            "{a = 1}",
            "1979-05-27",
            "[[1]]",
            "9" * 400,
            '"EG1"',
            '[""]',
            "1" + "0" * 5000,
            "[" * 3000,
            "{a = " * 3000,
            '"' + "a" * 300 + '"',
            "5e-324",
            "1e999",
            "0x10",
            '["\\u001b[31m"]',
        )
    )
    line = random.choice(
        (
            "tool = {0}",
            "[tool]\nedgeglass-diag = {0}",
            "[[tool]]\nx = {0}",
            "[[tool.edgeglass-diag]]\nselect = {0}",
            "[tool.edgeglass-diag]\nselect = {0}",
            "[tool.edgeglass-diag]\nignore = {0}",
            "[tool.edgeglass-diag]\nEG301 = {0}",
            "[tool.edgeglass-diag.EG301]\nsignal = {0}",
            "[tool.edgeglass-diag.EG301]\nx = {0}",
            "[tool.edgeglass-diag.EG101]\nwindows = {0}",
            '[tool.edgeglass-diag]\n"{0}" = 1',
            "x = {0}",
            "[tool.edgeglass-diag]\nselect = [{0}]\n[tool.edgeglass-diag]\nselect = []",
        )
    )
    return Input({"pyproject.toml": line.replace("{0}", value).encode()}, ("findings", "none"))


def read_toml(folder: Path) -> float:
    """Return the threshold that is read."""
    from edgeglass_diag.rules.choice import choose_rules

    (rule,) = choose_rules(["EG301"], folder)
    return float(rule.thresholds["signal"])


def configure(folder: Path, given: Input) -> None:
    """Choose the rules as every command does.

    Raises:
        RefusedError: for a configuration that is wrong.
    """
    from edgeglass_diag.rules.choice import choose_rules

    try:
        choose_rules(None, folder)
    except ValueError as error:
        said(error)


WORDS = (
    *(token for token in TOKENS if not token.startswith("../")),  # runs of others may stand there
    *NUMBERS,
    "a" * 300,
    "/dev/zero",
    "/dev/null",
    "/dev/full",
    "folder",
    "nowhere",
    "log.csv",
    "pipe",
    "broken-link",
    ".",
    "",
    "~",
    "-",
    "--",
    "--json",
    "recipe.yaml",
    "no/such/file.csv",
    "log.csv/x",
    "/proc/self/mem",
    "/proc/self/environ",
    "folder.yaml",
    "zero.csv",
    "pipe.csv",
    "pipe.json",
    "folder.csv",
    "folder.npy",
    "zero.npy",
    "x.py",
    "a.b:c",
    "EG301",
    "EG",
    "EG301.signal=0.1",
    "EG301.signal=" + "9" * 400,
    "EG101.windows=1.5",
    "EG301.signal=nan",
    "critical",
    "cpu",
    "meta",
    "cuda:99",
    "mps",
    "hpu",
    "xla",
    "html",
    "128,64",
    "0",
    "9" * 5000,
    "val_loss=x",
    "ignore=train_loss",
    "EG301.signal=" + "9" * 5000,
)
VERBS: dict[str, tuple[str, ...]] = {
    "audit": ("--column", "--batch-size", "--fail-on", "--baseline", "--json"),
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
    "findings": ("--fail-on", "--baseline", "--json"),
    "compare": ("--json",),
    "rules": ("--json",),
    "export": ("--to", "--out", "--json"),
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
        RefusedError: for wrong use.
    """
    odd_places(folder)
    run(folder, given)


OPTIONS = (
    Reader("pyproject.toml", cache(lambda: [Input({"pyproject.toml": _TOML.encode()})]), toml, configure, read_toml),
    Reader("options", lambda: (), options, run_beside_odd_places),
)
