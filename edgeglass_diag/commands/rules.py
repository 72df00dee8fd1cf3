"""The verb ``rules``: the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeglass_diag.commands.options import AsJson
from edgeglass_diag.commands.output import print_json, terminal
from edgeglass_diag.records import UsageError


def rules(
    code: Annotated[str | None, typer.Argument(help="One code, e.g. EG301.")] = None, as_json: AsJson = False
) -> None:
    """The rule catalogue, each with its reason, threshold, source and fix."""
    from edgeglass_diag.catalogue import catalogue, page
    from edgeglass_diag.rules import current_code

    entries = catalogue()
    wanted = None if code is None else current_code(code.upper())
    chosen = [entry for entry in entries if wanted in (None, entry["code"])]
    if not chosen:
        raise UsageError(f"no rule {code!r}: expected one of {', '.join(entry['code'] for entry in entries)}")
    if as_json:
        print_json(chosen)
    elif code is not None:
        print(page(chosen[0]["code"]))
    else:
        from edgeglass_diag.commands.render.catalogue import catalogue_table

        terminal().print(catalogue_table(chosen))
