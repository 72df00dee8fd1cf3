"""A document as HTML: styles of its own, no script, readable on a light and on a dark ground."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from edgeglass_diag.notebooks.document import Block, Code, Document, Folded, Headline, Nested, Table, Text

_COLOURS = {
    "critical": ("#b02a2a", "#ffffff"),
    "warning": ("#f2b705", "#1a1b1e"),
    "info": ("#1864ab", "#ffffff"),
    "good": ("#1e7335", "#ffffff"),
    "neutral": ("#5c636a", "#ffffff"),
}
"""Ground and text of a word by its tone: each pair has a contrast of more than 4.5, whatever is around it."""

_LINE = "rgba(128,128,128,.45)"
_CELL = f"text-align:left;padding:.15em .8em .15em 0;border-bottom:1px solid {_LINE};vertical-align:top"


def html(document: Document) -> str:
    """Return a document as one element, whose words the notebook takes for no formula."""
    inside = "".join(_blocks(document))
    style = "font-family:system-ui,sans-serif;line-height:1.45;overflow-wrap:break-word"
    return f'<div class="edgeglass tex2jax_ignore mathjax_ignore" style="{style}">{inside}</div>'


def _blocks(document: Document) -> Iterator[str]:
    for block in document:
        yield _block(block)


def _block(block: Block) -> str:
    match block:
        case Headline(word, tone, text):
            ground, colour = _COLOURS.get(tone, _COLOURS["neutral"])
            badge = f"background:{ground};color:{colour};border-radius:3px;padding:.1em .5em;font-weight:600"
            return f'<div><span style="{badge}">{_words(word)}</span> <b>{_words(text)}</b></div>'
        case Text(text, label, quiet):
            named = f'<span style="opacity:.75">{_words(label)}:</span> ' if label else ""
            style = ' style="opacity:.75"' if quiet else ""
            return f"<div{style}>{named}{_words(text)}</div>"
        case Code(text):
            return f"<div><code>{_words(text)}</code></div>"
        case Table():
            return _table(block)
        case Folded(title, blocks):
            inside = "".join(_blocks(blocks))
            return f"<details><summary>{_words(title)}</summary>{inside}</details>"
        case Nested(blocks):
            inside = "".join(_blocks(blocks))
            return f'<div style="margin:.2em 0 .5em 0;padding-left:1em;border-left:2px solid {_LINE}">{inside}</div>'


def _table(table: Table) -> str:
    title = f"<div><b>{_words(table.title)}</b></div>" if table.title else ""
    head = "".join(f'<th style="{_CELL}">{_words(name)}</th>' for name in table.columns)
    rows = ("".join(f'<td style="{_CELL}">{_words(cell)}</td>' for cell in row) for row in table.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    style = 'style="border-collapse:collapse;margin:.3em 0;color:inherit;font-size:inherit"'
    return f"{title}<table {style}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _words(text: str) -> str:
    """Return a text of whatever origin as HTML; a character that no page can hold is shown as a replacement.

    >>> _words("<b>\\x00 & 'a'")
    '&lt;b&gt;\\ufffd &amp; &#x27;a&#x27;'
    """
    printable = "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)
    return escape(printable)
