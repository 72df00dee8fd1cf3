"""The verb ``dashboard``: all runs of a folder in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.options import AsJson
from edgeglass_diag.commands.output import print_json
from edgeglass_diag.records import UsageError


def dashboard(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder of runs, or a run.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="The next free one if taken.")] = 8050,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine with a token.")] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="EDGEGLASS_DASHBOARD_TOKEN", help="Needed to see it; made if one is needed and none given."
        ),
    ] = None,
    base_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="Its path behind a proxy, as /proxy/8050; / for none.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
    static: Annotated[Path | None, typer.Option(metavar="OUT.html", help="Only write a run as one page.")] = None,
    as_json: AsJson = False,
) -> None:
    """The dashboard of all runs in a folder, live, in a browser; reads and never writes."""
    from edgeglass_diag.commands.serving import serve, write_static

    if static is not None:
        write_static(folder, static)
        if as_json:
            print_json({"out": str(static), "runs": [str(folder)]})
        return
    if token is not None and len(token) < 8:
        raise UsageError(f"--token: expected at least 8 characters, got {len(token)}")
    serve(folder, host=host, port=port, token=token, base_path=base_path, open_browser=open_browser, as_json=as_json)
