"""The skill: its front matter is that of the format, and what it tells an agent to type exists."""

import re
from pathlib import Path

import yaml
from typer.main import get_command

from edgeglass_diag.commands import app

SKILL = Path(__file__).parents[2] / "skills/edgeglass-diag/SKILL.md"


def test_the_front_matter_names_the_skill_and_says_when_to_use_it():
    _, front, _ = SKILL.read_text().split("---\n", 2)
    facts = yaml.safe_load(front)
    assert set(facts) == {"name", "description"}
    assert facts["name"] == SKILL.parent.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", facts["name"])
    assert 0 < len(facts["description"]) <= 1024


def test_each_command_in_it_is_one():
    told = re.findall(r"edgeglass-diag ([a-z]+)", SKILL.read_text().split("---\n", 2)[2])
    assert told[0] == "diagnose"
    assert set(told) <= set(get_command(app).commands)
