"""The keyboard's ways: a letter for each page of a run, and the help that lists them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dash_mantine_components as dmc
from dash import html

_FIXED = (("j / k", "the next, the previous finding"), ("g, then a letter", "a page"), ("?", "this help"))


def letters(titles: Iterable[str]) -> dict[str, str]:
    """Return a letter for each title: its first one that no title before has.

    >>> letters(["Signal", "Site", "Signals"])
    {'Signal': 's', 'Site': 'i', 'Signals': 'g'}
    """
    taken: dict[str, str] = {}
    for title in titles:
        free = (letter for letter in title.lower() if letter.isalpha() and letter not in taken.values())
        letter = next(free, "")
        if letter:
            taken[title] = letter
    return taken


def help_dialog(titles: Iterable[str]) -> Any:
    """The list of keys, shown by ``?``."""
    rows = [*_FIXED, *((f"g {letter}", title) for title, letter in letters(titles).items())]
    items = [html.Tr([html.Th(html.Kbd(keys), scope="row"), html.Td(words)]) for keys, words in rows]
    return dmc.Modal(html.Table(html.Tbody(items)), id="help", opened=False, title="Keys", size="md")
