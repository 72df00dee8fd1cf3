"""What git says of the difference between two states, as changes that can be made one without the other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_LETTERS = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}


class Kind(StrEnum):
    """What a change does to a file."""

    LINES = "lines"
    NEW = "new file"
    DELETED = "deleted file"
    RENAMED = "renamed"
    MODE = "mode"
    BINARY = "binary"


@dataclass(frozen=True)
class Change:
    """One change to a file: some lines, or its name, mode or whole content.

    Attributes:
        kind: what it does.
        path: name of the file after it.
        old: first line and number of lines that it replaces; after that line if there are none.
        new: the same of what it puts there.
        text: its lines as git writes them, with ``+`` and ``-``.
        before: name of the file before it, if another.
    """

    kind: Kind
    path: str
    old: tuple[int, int] = (0, 0)
    new: tuple[int, int] = (0, 0)
    text: str = ""
    before: str = ""

    @property
    def key(self) -> str:
        """Return its name among the changes of one difference: by the lines after all of them."""
        if self.kind in (Kind.LINES, Kind.NEW) and self.text:
            return f"{self.path}:{span(*self.lines)}"
        return f"{self.path} ({self.kind})"

    @property
    def lines(self) -> tuple[int, int]:
        """Return its first and last line, from 1; where lines are deleted, the line before them."""
        first, count = self.new
        return max(1, first), max(1, first + count - 1, first)


@dataclass
class FileDifference:
    """The changes to one file.

    Attributes:
        header: lines before the first change, as git writes them.
        old: name of the file before, as git writes it after ``a/``.
        changes: what is changed.
    """

    header: list[str]
    old: str
    changes: list[Change] = field(default_factory=list)

    def patch(self, chosen: Collection[str]) -> str:
        """Return a patch that makes the changes of these keys alone."""
        made = [change for change in self.changes if change.key in chosen]
        whole = next((change for change in made if change.kind is not Kind.LINES), None)
        if not made:
            return ""
        if whole is not None and whole.kind in (Kind.NEW, Kind.DELETED, Kind.BINARY):
            return "".join(self.header) + whole.text
        lines = [change for change in made if change.kind is Kind.LINES]
        header = self.header if whole is not None else self._plain_header()
        unused = ("index ",) if lines else ("index ", "--- ", "+++ ")
        named = [line for line in header if not line.startswith(unused)]
        return "".join(named) + "".join(_moved(lines))

    def _plain_header(self) -> list[str]:
        a, b = _quoted("a/", self.old), _quoted("b/", self.old)
        tab = "\t" if " " in self.old else ""
        return [f"diff --git {a} {b}\n", f"--- {a}{tab}\n", f"+++ {b}{tab}\n"]


def span(first: int, last: int) -> str:
    """Return lines as a message names them: ``126-127``, or ``126``."""
    return f"{first}" if first == last else f"{first}-{last}"


def parse(text: str) -> list[FileDifference]:
    """Return the changes in an output of ``git diff -U0 --binary -M``."""
    files: list[list[str]] = []
    within = False
    for line in text.split("\n")[:-1]:
        if line.startswith("diff --git "):
            files.append([])
        # A line that begins the changes inside of a submodule belongs to no file.
        within = bool(files) and not line.startswith("Submodule ") and (within or line.startswith("diff --git "))
        if within:
            files[-1].append(line + "\n")
    return [_parse_file(lines) for lines in files]


def patch_of(files: Iterable[FileDifference], chosen: Collection[str]) -> str:
    """Return a patch that makes the changes of these keys alone, whatever the others are."""
    return "".join(file.patch(chosen) for file in files)


def _parse_file(lines: list[str]) -> FileDifference:
    start = next((n for n, line in enumerate(lines) if line.startswith(("@@ ", "GIT binary patch"))), len(lines))
    header, body = lines[:start], lines[start:]
    facts = {word: line[len(word) :].rstrip("\n") for line in header for word in _FACTS if line.startswith(word)}
    old, new = facts.get("rename from "), facts.get("rename to ")
    if old is None or new is None:
        old = new = _name(facts, header[0])
    path, before = unquoted(new), unquoted(old)
    found = FileDifference(header, old)
    whole = _whole_kind(facts, body)
    if whole in (Kind.NEW, Kind.DELETED, Kind.BINARY):
        text = "".join(body)
        old_span, new_span = _spans(body[0]) if body and body[0].startswith("@@ ") else ((0, 0), (0, 0))
        found.changes.append(Change(whole, path, old_span, new_span, text, before))
        return found
    if whole is not None:
        found.changes.append(Change(whole, path, before=before if before != path else ""))
    for hunk in _hunks(body):
        found.changes.append(Change(Kind.LINES, path, *_spans(hunk[0]), "".join(hunk[1:])))
    return found


_FACTS = ("rename from ", "rename to ", "--- ", "+++ ", "old mode ", "new file mode ", "deleted file mode ")


def _whole_kind(facts: Collection[str], body: list[str]) -> Kind | None:
    kinds = {"new file mode ": Kind.NEW, "deleted file mode ": Kind.DELETED}
    for word, kind in kinds.items():
        if word in facts:
            return kind
    if body and body[0].startswith("GIT binary patch"):
        return Kind.BINARY
    return Kind.RENAMED if "rename from " in facts else Kind.MODE if "old mode " in facts else None


def _name(facts: dict[str, str], first: str) -> str:
    """Return the name of a file that keeps it, as git writes it after ``a/``."""
    for word in ("+++ ", "--- "):
        name = facts.get(word, "/dev/null").removesuffix("\t")
        if name != "/dev/null":
            return name[2:] if not name.startswith('"') else '"' + name[3:]
    both = first.removeprefix("diff --git ").rstrip("\n")
    name = both[: len(both) // 2]
    return name[2:] if not name.startswith('"') else '"' + name[3:]


def _hunks(body: list[str]) -> list[list[str]]:
    found: list[list[str]] = []
    for line in body:
        if line.startswith("@@ "):
            found.append([])
        found[-1].append(line)
    return found


def _spans(header: str) -> tuple[tuple[int, int], tuple[int, int]]:
    match = _HUNK.match(header)
    assert match is not None, header
    old, old_count, new, new_count = match.groups()
    return (int(old), int(old_count or 1)), (int(new), int(new_count or 1))


def _moved(changes: list[Change]) -> list[str]:
    """Return hunks whose places count these changes alone; git finds those without context by their number."""
    found, delta = [], 0
    for change in changes:
        (old, removed), (_, added) = change.old, change.new
        new = old + delta + (removed == 0) - (added == 0)
        delta += added - removed
        found.append(f"@@ -{old},{removed} +{new},{added} @@\n{change.text}")
    return found


def _quoted(prefix: str, name: str) -> str:
    return f'"{prefix}{name[1:]}' if name.startswith('"') else prefix + name


def unquoted(name: str) -> str:
    r"""Return a name that git has quoted, as it quotes those with control characters, quotes and backslashes.

    >>> unquoted('"a\\tb\\"c"'), unquoted("plain.py")
    ('a\tb"c', 'plain.py')
    """
    if not name.startswith('"'):
        return name

    def letter(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code, 8)) if len(code) == 3 else chr(_LETTERS[code]) if code in _LETTERS else code

    return _ESCAPE.sub(letter, name[1:-1])
