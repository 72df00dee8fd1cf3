"""The README, the pages of docs and the how-to pages: links, commands, codes and answers are what they say."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from edgeglass_diag.auditing.catalogue import CONCLUSIONS
from edgeglass_diag.commands import app
from edgeglass_diag.rules.catalogue import own_rules
from tests.helpers.audit_logs import PUBLISHED

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
HOWTO = [path for path in sorted((DOCS / "howto").glob("*.md")) if path.name != "index.md"]
PARTS = ["What it means", "One command", "What it answers", "What to change", "Rules"]
VERBS = typer.main.get_command(app).commands
CODES = {rule.code for rule in own_rules()} | {one.code for one in CONCLUSIONS}
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
ANSWER = re.compile(r"<!-- answer -->\n```console\n(.*?)```\n<!-- end -->", re.S)


def anchors(path):
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def named(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_to_files_and_headings_lead_somewhere(path):
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^()\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        place, _, anchor = target.partition("#")
        found = path.parent / place if place else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_the_readme_is_short_and_its_picture_small():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 110
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((ROOT / picture).stat().st_size < 200_000 for picture in pictures)


@pytest.mark.parametrize("path", [README, *HOWTO, DOCS / "run.md", DOCS / "guides.md"], ids=named)
def test_commands_name_verbs_and_options_that_exist(path):
    text = path.read_text(encoding="utf-8")
    lines = [line.removeprefix("$ ") for line in text.splitlines()] + re.findall(r"`(edgeglass-diag [^`]*)`", text)
    commands = [line for line in lines if re.match(r"edgeglass-diag [a-z]", line)]
    assert commands
    for command in commands:
        _, verb, *words = shlex.split(command.partition(" | ")[0].replace("[", "").replace("]", ""), comments=True)
        assert verb in VERBS, command
        own = words[: words.index("--")] if "--" in words else words
        own = own[: own.index("-m")] if "-m" in own else own
        options = {option for parameter in VERBS[verb].params for option in parameter.opts} | {"--help"}
        assert {word for word in own if word.startswith("--")} <= options, command


@pytest.mark.parametrize("path", HOWTO, ids=named)
def test_a_how_to_has_its_parts_and_an_answer_that_names_its_rules(path):
    text = path.read_text(encoding="utf-8")
    symptom = text.split("\n## ")[0].partition("\n\n")[2]
    assert symptom.startswith('"'), "it begins with the symptom in the user's words"
    assert re.findall(r"^## (.*)$", text, re.M) == PARTS
    assert "```\n" in text.partition("## What it means")[2].partition("\n## ")[0], "a formula"
    listed = re.findall(r"EG\d{3}", text.rpartition("## Rules")[2])
    assert listed
    assert set(re.findall(r"EG\d{3}", text)) <= CODES
    (answer,) = ANSWER.findall(text)
    assert set(listed) & set(re.findall(r"EG\d{3}", answer))
    assert str(ROOT) not in answer


def test_every_page_is_in_the_navigation_and_every_how_to_in_its_index():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    there = set(re.findall(r"[\w/-]+\.md", json.dumps(nav))) | {"rules.md", "signals.md", "cli.md"}
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} <= there
    index = (DOCS / "howto/index.md").read_text(encoding="utf-8")
    assert [path.name for path in HOWTO if f"({path.name})" not in index] == []


@pytest.mark.parametrize("name", ["perceiver", "baseline"])
def test_the_logs_of_the_how_to_pages_are_the_published_numbers(name):
    assert json.loads((DOCS / f"howto/logs/{name}.json").read_text())[name] == PUBLISHED[name]


@pytest.mark.long
@pytest.mark.parametrize("path", HOWTO, ids=named)
def test_the_tool_still_answers_with_the_headline_of_the_page(path):
    command = [sys.executable, str(DOCS / "site/answers.py"), "--check", path.stem]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
