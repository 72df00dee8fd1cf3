"""The verb ``mcp``: a server through which agents look at runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.output import print_json


def mcp(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the server's entry for a client's configuration, and serve nothing.")
    ] = False,
) -> None:
    """Serve the Model Context Protocol over stdin and stdout, for agents; needs the extra mcp.

    All tools read, but explain: it runs short replays of a program in the background, after it has said which. The
    server ends, and the replays with it, when stdin is closed.
    """
    if as_json:
        print_json({"edgeglass-diag": {"command": _command(), "args": ["mcp"]}})
        return
    from edgeglass_diag.agents.server import serve

    serve()


def _command() -> str:
    """Return the path of the command in this environment, which a client's PATH may not have."""
    beside = Path(sys.executable).with_name("edgeglass-diag")
    return str(beside) if beside.exists() else "edgeglass-diag"
