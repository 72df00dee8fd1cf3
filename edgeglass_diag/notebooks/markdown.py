"""A document as Markdown, for where no HTML is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgeglass_diag.notebooks.document import Code, Document, Folded, Headline, Nested, Table, Text

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$>^=:@/])")


def markdown(document: Document) -> str:
    """Return a document as lines of Markdown; what is nested is a list in a list."""
    return "\n".join(_lines(document, "")) + "\n"


def _lines(document: Document, indent: str) -> Iterator[str]:
    inside = f"{indent}  "
    for block in document:
        match block:
            case Headline(word, _, text):
                yield f"{indent}- **{_words(word)}** {_words(text)}"
            case Text(text, label):
                yield f"{indent}- {f'{_words(label)}: ' if label else ''}{_words(text)}"
            case Code(text):
                yield f"{indent}- {_code(text)}"
            case Table():
                yield from ("", *_table(block, indent), "")
            case Folded(title, blocks):
                yield f"{indent}- {_words(title)}"
                yield from _lines(blocks, inside)
            case Nested(blocks):
                yield from _lines(blocks, inside)


def _table(table: Table, indent: str) -> Iterator[str]:
    if table.title:
        yield f"{indent}**{_words(table.title)}**"
        yield ""
    yield f"{indent}| {' | '.join(map(_words, table.columns))} |"
    yield f"{indent}|{' --- |' * len(table.columns)}"
    for row in table.rows:
        yield f"{indent}| {' | '.join(map(_words, row))} |"


def _code(text: str) -> str:
    """Return a text as code, between more backticks than it has in a row.

    >>> _code("a `b`")
    '`` a `b` ``'
    """
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{_one_line(text)}{space}{fence}"


def _words(text: str) -> str:
    """Return a text of whatever origin as one line in which nothing is a mark, a link, a formula or HTML.

    >>> _words("a_b | <i> [x](y)")
    'a\\\\_b \\\\| &lt;i\\\\> \\\\[x\\\\]\\\\(y\\\\)'
    """
    plain = _one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(r"\\\1", plain)


def _one_line(text: str) -> str:
    printable = "".join(each if each.isprintable() else "\ufffd" if not each.isspace() else " " for each in text)
    return " ".join(printable.split())
