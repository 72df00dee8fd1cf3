"""The action, the hook and the examples of docs/ci.md: they parse, and all that they use exists."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from edgeglass_diag.commands import app
from edgeglass_diag.extras import EXTRAS

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
DOCS = ((ROOT / "docs" / "ci.md").read_text(), (ROOT / "docs" / "cli.md").read_text())
VERBS = typer.main.get_command(app).commands
GATED = ("check", "run", "audit", "findings", "eval")


def options_of(verb):
    return {option for parameter in VERBS[verb].params for option in parameter.opts}


def used(words):
    """Return the options in words, up to the arguments of the script."""
    own = words[: words.index("--")] if "--" in words else words
    return {word.partition("=")[0] for word in own if word.startswith("--")}


def blocks(language=""):
    found = [pair for text in DOCS for pair in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]
    return [block for name, block in found if name == language]


def step_named(name):
    (step,) = [step for step in ACTION["runs"]["steps"] if step["name"] == name]
    return step


def judge():
    return step_named("Judge")


def test_what_the_action_reads_are_inputs_that_it_has():
    asked = re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text())
    assert set(asked) == set(ACTION["inputs"])
    assert all("${{" not in step.get("run", "") for step in ACTION["runs"]["steps"])  # nothing is put into a script


@pytest.mark.parametrize("verb", GATED)
def test_the_options_of_the_action_are_options_of_each_verb(verb):
    assert used(shlex.split(judge()["run"].replace("(", " ").replace(")", " "))) - {"--"} <= options_of(verb)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"TARGET": "src/train.py"}, ["check", "--fail-on", "warning", "--sarif", "x.sarif", "src/train.py"]),
        (
            {"TARGET": "a b.csv\nc.csv", "VERB": "audit", "BASELINE": "known ones.json", "OPTIONS": "--batch-size\n8"},
            ["audit", "--fail-on", "warning", "--sarif", "x.sarif", "--baseline", "known ones.json", "--batch-size",
             "8", "a b.csv", "c.csv"],
        ),
        (
            {"TARGET": "t.py", "ARGUMENTS": "--data\na few $(pairs)\n"},
            ["check", "--fail-on", "warning", "--sarif", "x.sarif", "t.py", "--", "--data", "a few $(pairs)"],
        ),
    ],
)  # fmt: skip
def test_the_line_that_the_action_runs(tmp_path, given, line):
    command = tmp_path / "edgeglass-diag"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 1\n')
    command.chmod(command.stat().st_mode | stat.S_IEXEC)
    defaults = {name: "" for name in judge()["env"]} | {"VERB": "check", "FAIL_ON": "warning", "SARIF": "x.sarif"}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", judge()["run"]]
    done = subprocess.run(shell, env={**defaults, **given, "PATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == line


@pytest.mark.parametrize(
    ("given", "asked"),
    [({}, "/the action"), ({"EXTRAS": "models,evaluate"}, "/the action[models,evaluate]")],
)
def test_the_action_installs_the_extras(tmp_path, given, asked):
    command = tmp_path / "python"
    command.write_text('#!/bin/sh\nprintf "%s\n" "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IEXEC)
    install = step_named("Install")
    values = {name: "" for name in install["env"]} | {"PACKAGE": "/the action"} | given
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", install["run"]]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(shell, env={**values, "PATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == asked


def test_the_hook_runs_a_verb_that_exists():
    (hook,) = HOOKS.values()
    command, verb, *rest = shlex.split(hook["entry"])
    assert (command, verb in VERBS, used(rest) <= options_of(verb)) == ("edgeglass-diag", True, True)
    assert hook["pass_filenames"] is False


def test_the_examples_for_github_use_inputs_of_the_action():
    steps = []
    for block in blocks("yaml"):
        content = yaml.safe_load(block)
        if isinstance(content, list):
            steps += content
        elif "jobs" in content:
            steps += [step for job in content["jobs"].values() for step in job["steps"]]
    own = [step["with"] for step in steps if step.get("uses", "").split("@")[0].endswith("/edgeglass-diag")]
    assert len(own) == 3
    assert {name for given in own for name in given.get("extras", "").split(",") if name} <= set(EXTRAS)
    required = {name for name, about in ACTION["inputs"].items() if about.get("required")}
    for given in own:
        assert required <= set(given) <= set(ACTION["inputs"])
        assert used(str(given.get("options", "")).split()) <= options_of(given.get("verb", "check"))


def test_the_example_for_pre_commit_names_the_hook_and_options_that_it_has():
    (content,) = [found for block in blocks("yaml") if "repos" in (found := yaml.safe_load(block))]
    (hook,) = content["repos"][0]["hooks"]
    verb = shlex.split(HOOKS[hook["id"]]["entry"])[1]
    assert used(hook["args"]) <= options_of(verb)


def test_the_lines_of_the_documents_use_options_that_exist():
    lines = [line for block in blocks() for line in block.splitlines() if line.startswith("edgeglass-diag ")]
    assert len(lines) >= 5
    for line in lines:
        _, verb, *words = shlex.split(line)
        assert used(words) <= options_of(verb), line


def test_the_tables_of_the_documents_name_options_that_exist():
    named = set()
    for text in DOCS:
        for row in re.findall(r"^\| `([^|]*)`", text, re.M):
            words = row.replace("`", "").split()
            verb = "run" if words[0].startswith("-") else words[0]
            assert used(words) <= options_of(verb), row
            named |= used(words)
    assert {"--sarif", "--baseline", "--update-baseline", "--fail-on"} <= named
    assert all({"--sarif", "--baseline", "--update-baseline", "--fail-on"} <= options_of(verb) for verb in GATED)
