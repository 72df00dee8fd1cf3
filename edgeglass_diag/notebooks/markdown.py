"""A document as Markdown, for where no HTML is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from edgeglass_diag.notebooks.document import Code, Document, Folded, Headline, Nested, Table, Text

_SPECIAL = re.compile(r"([\\`*_{}\[\]<#|~$!@]|(?<=:)/|(?<=www)\.|^[-+=>]|^\d+(?=[.)]))")
"""What Markdown takes for a mark, a formula or a link, also where it makes links of bare addresses."""

Words = Callable[[str], str]


def markdown(document: Document) -> str:
    """Return a document as lines of Markdown; what is nested is a list in a list."""
    return "\n".join(_lines(document, "", _words)) + "\n"


def plain(document: Document) -> str:
    """Return the same lines for where they are read as they are, with nothing escaped."""
    return "\n".join(_lines(document, "", _one_line)) + "\n"


def _lines(document: Document, indent: str, words: Words) -> Iterator[str]:
    inside = f"{indent}  "
    for block in document:
        match block:
            case Headline(word, _, text):
                yield f"{indent}- **{words(word)}** {words(text)}"
            case Text(text, label):
                yield f"{indent}- {f'{words(label)}: ' if label else ''}{words(text)}"
            case Code(text):
                yield f"{indent}- {_code(text)}"
            case Table():
                yield from ("", *_table(block, indent, words), "")
            case Folded(title, blocks):
                yield f"{indent}- {words(title)}"
                yield from _lines(blocks, inside, words)
            case Nested(blocks):
                yield from _lines(blocks, inside, words)


def _table(table: Table, indent: str, words: Words) -> Iterator[str]:
    if table.title:
        yield f"{indent}**{words(table.title)}**"
        yield ""
    yield f"{indent}| {' | '.join(map(words, table.columns))} |"
    yield f"{indent}|{' --- |' * len(table.columns)}"
    for row in table.rows:
        yield f"{indent}| {' | '.join(map(words, row))} |"


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

    >>> _words("a_b | <i> [x](y) https://z")
    'a\\\\_b \\\\| &#60;i> \\\\[x\\\\](y) https:\\\\//z'
    """
    text = _one_line(text).replace("&", "&amp;")
    return _SPECIAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    """Return a mark so that it is none; as a number where a backslash before it makes another mark, as ``\\\\(`` is."""
    mark = found[0]
    if mark.isdigit():
        return f"{mark[:-1]}&#{ord(mark[-1])};"
    return f"&#{ord(mark)};" if mark in "\\$@<" else f"\\{mark}"


def _one_line(text: str) -> str:
    printable = "".join(each if each.isprintable() else "\ufffd" if not each.isspace() else " " for each in text)
    return " ".join(printable.split())
