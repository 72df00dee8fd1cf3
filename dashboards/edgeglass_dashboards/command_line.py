"""A command to run in a terminal, with a button that copies it: the dashboard itself starts nothing."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html


def command_line(command: str, name: str) -> Any:
    """The command and its button; ``name`` is the id of the command."""
    button = dmc.CopyButton(
        "Copy", value=command, copiedChildren="Copied", size="compact-sm", color="dark", variant="default",
        buttonProps={"aria-label": "Copy the command"},
    )  # fmt: skip
    return html.Div([html.Code(command, id=name), button], className="command")
