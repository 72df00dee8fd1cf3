"""The records of the other ranks, read and compared by the first rank while all of them train."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

from edgeglass_diag.folders import rank_folders
from edgeglass_diag.own_rank import speaks
from edgeglass_diag.records import Finding, UsageError
from edgeglass_diag.rules import Rule
from edgeglass_diag.rules.ranks_judge import RankJudge
from edgeglass_diag.store import Run

_REST = 2.0
"""Least seconds between two looks at the records."""
_SHARE = 20
"""How much longer than a look the rest behind it is: of the writing thread's time a twentieth goes into it."""
_RANK = re.compile(r"rank-(\d+)")


class LiveRanks:
    """Compares the records of all ranks in the first rank's writing thread; nothing in the training waits for another.

    A rank that lags is compared as far as its record goes, one that has died as far as it came, and a record that
    cannot be read now, as a file that is half there, the next time. Nothing is raised for either.

    Args:
        rules: of which those across ranks are asked.

    Attributes:
        findings: all so far.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.findings: list[Finding] = []
        self._judge = RankJudge(rules)
        self._runs: dict[int, Run] = {}
        self._root: Path | None = None
        self._own: Path | None = None
        self._next = 0.0

    @property
    def failures(self) -> dict[str, str]:
        """Return what ended each rule that failed, by its code."""
        return self._judge.failures

    def follow(self, store: Path) -> None:
        """Compare with the ranks of the run that a store belongs to; the store of another rank than 0 compares none."""
        match = _RANK.fullmatch(store.name)
        is_first = speaks() and (match is None or int(match[1]) == 0)
        self._root = (store if match is None else store.parent) if is_first else None
        self._own = None if match is not None else self._root

    def look(self, *, last: bool = False) -> list[Finding]:
        """Return what is new, at most every ``_REST`` seconds; the last look is not waited for, and ends all.

        Args:
            last: whether the training has ended.
        """
        begin = time.monotonic()
        if self._root is None or (begin < self._next and not last):
            return []
        known = {finding.key for finding in self.findings}
        try:
            self._open(self._root)
            self.findings = self._judge.judge(self._runs)
        finally:
            now = time.monotonic()  # also after a failure, which would come again with each window
            self._next = now + max(_REST, _SHARE * (now - begin))
            if last:
                self._close()
        return [finding for finding in self.findings if finding.key not in known]

    def _open(self, root: Path) -> None:
        folders = rank_folders(root)
        if self._own is not None and folders:
            folders.setdefault(0, self._own)
        for rank in folders.keys() - self._runs.keys():
            try:
                self._runs[rank] = Run(folders[rank])
            except (UsageError, OSError):  # its process has only begun to write it
                continue

    def _close(self) -> None:
        for run in self._runs.values():
            run.close()
        self._runs.clear()
