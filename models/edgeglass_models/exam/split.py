"""The split of programs and operators into study, on which rules are developed, and exam, which nobody looks at."""

from __future__ import annotations

import hashlib
from typing import Literal

Part = Literal["study", "exam"]


def part_of(name: str) -> Part:
    """Return the part of a program or an operator: a third is exam, by the hash of its name alone.

    >>> part_of("simclr"), part_of("siglip")
    ('study', 'exam')
    """
    return "exam" if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 3 == 0 else "study"


def part_of_case(program: str, operator: str = "") -> Part:
    """Return the part of a case: exam if its program or its operator is.

    So whoever develops rules has seen neither the programs nor the operators of the exam in any case. It is 5 in 9 of
    all cases; had both to be exam it would be 1 in 9.
    """
    return "exam" if "exam" in (part_of(program), part_of(operator) if operator else "study") else "study"
