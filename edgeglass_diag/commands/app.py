"""The Typer app."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Why does my vision-text alignment model not learn, and what do I change?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
