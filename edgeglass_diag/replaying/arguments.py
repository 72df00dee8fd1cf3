"""Command lines as named options, so that two of them can be told apart and mixed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_OPTION = re.compile(r"--?[A-Za-z][^=\s]*|\+{0,2}[A-Za-z_][\w.@/-]*(?==)")
"""``--lr``, ``-b``, and the left side of an override ``optimizer.lr=1e-3``, also one that adds (``+trainer.x=1``)."""

Words = tuple[str, ...]


@dataclass(frozen=True)
class Option:
    """A part of a command line.

    Attributes:
        name: ``--lr``, ``optimizer.lr``, or ``argument 1`` for one without a name; a second ``--set`` is ``--set #2``.
        words: all words of it, its name first where that is a word of its own.
    """

    name: str
    words: Words

    @property
    def value(self) -> str:
        """What is given, in words to show: ``2e-3``; ``given`` for an option without a value."""
        (first, *rest), bare = self.words, self.name.split(" #")[0]
        if first != bare and "=" in first and not self.name.startswith("argument "):
            rest.insert(0, first.partition("=")[2])
        elif first != bare:
            rest.insert(0, first)
        return " ".join(rest) or "given"


def options_of(arguments: Sequence[str]) -> list[Option]:
    """Return the options of a command line in their order.

    An option has all words up to the next one, as nobody but the program knows how many it takes: mixed lines keep
    each with its words. Negative numbers are values, and ``--`` has all words behind it.
    """
    groups: list[tuple[str, list[str]]] = []
    for place, word in enumerate(arguments):
        last = groups[-1][1] if groups and groups[-1][0].startswith("-") else []
        named = _OPTION.match(word)
        if word == "--":
            groups.append((word, list(arguments[place:])))
            break
        if named is not None and (word.startswith("-") or len(last) != 1 or "=" in last[0]):
            groups.append((named.group().lstrip("+"), [word]))
        elif last:
            last.append(word)
        else:
            groups.append(("argument", [word]))
    counts: Counter[str] = Counter()
    options = []
    for name, words in groups:
        counts[name] += 1
        if name == "argument":
            name = f"argument {counts[name]}"
        elif counts[name] > 1:
            name = f"{name} #{counts[name]}"
        options.append(Option(name, tuple(words)))
    return options


def differing_arguments(
    failing: Sequence[str], healthy: Sequence[str]
) -> dict[str, tuple[Option | None, Option | None]]:
    """Return the options in which two command lines differ, each as it is in both; None where it is not given.

    >>> found = differing_arguments(["--lr", "2e-3", "--bf16"], ["--lr=2e-4"])
    >>> {name: tuple(one and one.value for one in both) for name, both in found.items()}
    {'--lr': ('2e-3', '2e-4'), '--bf16': ('given', None)}
    """
    ill, well = ({option.name: option for option in options_of(line)} for line in (failing, healthy))
    names = [*ill, *(name for name in well if name not in ill)]
    return {name: (ill.get(name), well.get(name)) for name in names if _value(ill.get(name)) != _value(well.get(name))}


def with_options(arguments: Sequence[str], changes: Mapping[str, Option | None]) -> Words:
    """Return a command line with some options replaced, left out where None, or added behind the last named one.

    >>> with_options(["fit", "--lr", "2e-3"], {"--lr": Option("--lr", ("--lr=2e-4",)), "-b": Option("-b", ("-b", "8"))})
    ('fit', '--lr=2e-4', '-b', '8')
    """
    options = options_of(arguments)
    known = {option.name for option in options}
    kept = [changes.get(option.name, option) for option in options]
    added = [option for name, option in changes.items() if option is not None and name not in known]
    named = [place for place, option in enumerate(options) if option.name[:1] == "-" and option.name != "--"]
    place = named[-1] + 1 if named else len(options) - ("--" in known)
    mixed = [option for option in (*kept[:place], *added, *kept[place:]) if option is not None]
    mixed.sort(key=lambda option: option.name == "--")
    return tuple(word for option in mixed for word in option.words)


def _value(option: Option | None) -> str | None:
    return None if option is None else option.value
