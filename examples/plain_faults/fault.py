"""What a fault in a plain script is, and the small git history in which a commit has it. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from examples.guilty_history import commit, git

HERE = Path(__file__).parent
Change = tuple[str, str]
"""What is in a script, and what is put in its place."""


@dataclass(frozen=True)
class Fault:
    """A fault of the bench in one of the scripts.

    Attributes:
        name: of the fault in the bench.
        script: name of the script, without its ending.
        arguments: words that make it ill; none where the fault is in its lines or surroundings.
        environment: variables that make it ill.
        change: lines that make it ill.
        always: words that the healthy script has as well.
        right: patterns of the interventions that take the fault away.
        helps: patterns of the interventions that make up for it.
    """

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    change: Change | None = None
    always: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Return the name of the script's file."""
        return f"{self.script}.py"

    @property
    def title(self) -> str:
        """Return what tells it from the others: the same fault may be in several scripts."""
        return f"{self.script}:{self.name}"

    @property
    def cause(self) -> str:
        """Return the argument or the variable that is the fault; empty where it is lines."""
        return next(iter([*self.arguments, *(f"${name}" for name in self.environment)]), "")

    @property
    def ill_words(self) -> tuple[str, ...]:
        """Return the arguments of the ill script, the innocent differences among them where the fault is one too."""
        innocent = () if self.change is not None else tuple(chain.from_iterable(INNOCENT_ARGUMENTS[self.script]))
        return (*self.always, *self.arguments, *innocent)

    @property
    def changes(self) -> list[Change]:
        """Return the changes of the guilty commit, the fault first."""
        return [] if self.change is None else [self.change, *INNOCENT_CHANGES[self.script]]

    @property
    def ill_text(self) -> str:
        """Return the text of the ill script."""
        return changed(text_of(self.script), self.changes)


INNOCENT_ARGUMENTS = {
    "two_towers": (("--width", "40"), ("--log-every", "5")),
    "sigmoid": (("--width", "40"), ("--name", "again")),
    "matryoshka": (("--batch-size", "36"), ("--log-every", "5")),
}
"""Two innocent differences in the arguments of each script."""

INNOCENT_CHANGES: Mapping[str, Sequence[Change]] = {
    "two_towers": (("+ 0.05 *", "+ 0.06 *"), ("Attention(width, 2,", "Attention(width, 4,")),
    "sigmoid": (("width), nn.GELU(), nn", "width), nn.SiLU(), nn"), ("pictures - 0.1", "pictures - 0.08")),
    "matryoshka": (("FEATURES = 12, 48", "FEATURES = 12, 52"), ("default=0.05", "default=0.06")),
}
"""Two innocent changes in the lines of each script, of the same commit as the fault."""

_BEFORE = ("Log more", ('"--log-every", type=int, default=20', '"--log-every", type=int, default=10'))
_BEHIND = ("Train longer", ('"--steps", type=int, default=100', '"--steps", type=int, default=120'))


def text_of(script: str) -> str:
    """Return the text of a healthy script."""
    return (HERE / f"{script}.py").read_text()


def changed(text: str, changes: Sequence[Change]) -> str:
    """Return a text after changes, each of which has one place."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def make_fault_history(folder: Path, fault: Fault) -> str:
    """Make a repository of four commits, the third of which has the fault; return the hash of that one."""
    assert fault.change is not None
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    text = text_of(fault.script)
    commits = [("A training", []), (_BEFORE[0], [_BEFORE[1]]), ("Tidy up", fault.changes), (_BEHIND[0], [_BEHIND[1]])]
    hashes = []
    for number, (message, changes) in enumerate(commits):
        text = changed(text, changes)
        hashes.append(commit(folder, {fault.file: text}, message, number))
    return hashes[2]


def line_of(text: str, change: Change) -> int:
    """Return the number of the first line of a text that a change made another."""
    old, new = change
    place = text.index(new) if new else text.index(text_around(text, old))
    return text[:place].count("\n") + 1


def text_around(text: str, gone: str) -> str:
    """Return the line that follows lines that are gone from a script."""
    healthy = next(each for each in map(text_of, INNOCENT_ARGUMENTS) if gone in each)
    behind = healthy[healthy.index(gone) + len(gone) :].splitlines(keepends=True)[0]
    assert text.count(behind) == 1, behind
    return behind
