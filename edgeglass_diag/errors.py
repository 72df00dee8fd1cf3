"""The error of wrong use."""

from __future__ import annotations

LONGEST = 1000
"""Characters of the line; of a longer one the middle is left out, since the place comes first and what came last."""


class UsageError(ValueError):
    """Wrong use or unreadable input: one line that names what was expected, what came, and where.

    Whatever of the user's text is in the message, it stays one printable line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    r"""Return a text in one line of printable characters, of bounded length.

    >>> one_line("a\n b\x1b[31m")
    'a b\\x1b[31m'
    """
    line = printable(" ".join(text.split()))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 + 5 :]}"


def printable(text: str) -> str:
    r"""Return a text in which what is not printable, as control characters, stands by its escape sequence.

    >>> printable("a\x00\x1b[31m\ud800")
    'a\\x00\\x1b[31m\\ud800'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
