"""A page for each verb, of the command line's own help."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click

from edgeglass_diag.commands import app

NAME = "edgeglass-diag"


def pages() -> dict[str, str]:
    """Return the page of each verb, by its path."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name=NAME)
    made = {}
    for verb, command in group.commands.items():
        text = get_docs_for_click(obj=command, ctx=context, name=verb, call_prefix=NAME)
        text = re.sub(r"^# `(.*)`$", r"# \1", text, flags=re.M)
        text = re.sub(r"^\$ (.*)\{(\w+)\}", r"$ \1\2", text, flags=re.M)
        made[f"cli/{verb}.md"] = "".join(_plain(part) for part in re.split(r"(```.*?```|`[^`]*`)", text, flags=re.S))
    return made


def _plain(part: str) -> str:
    """Return text outside of code without what Markdown takes for a link or a tag."""
    return part if part.startswith("`") else re.sub(r"([\[\]<>]|__)", r"\\\1", part)


def navigation() -> list[object]:
    """Return the verbs, in the order in which the command line lists them."""
    return ["cli/index.md", *({verb: f"cli/{verb}.md"} for verb in typer.main.get_command(app).commands)]


def index(markdown: str) -> str:
    """Return the page of the command line with the table of all verbs before its other tables."""
    commands = typer.main.get_command(app).commands
    rows = [
        f"| [`{verb}`]({verb}.md) | {(command.help or '').partition(chr(10))[0]} |"
        for verb, command in commands.items()
    ]
    table = "\n".join(["| verb | what it does |", "| --- | --- |", *rows])
    head, _, rest = markdown.partition("\n")
    return f"{head}\n\n## Verbs\n\n{table}\n{rest}"
