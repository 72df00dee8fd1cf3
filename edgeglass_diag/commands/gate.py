"""What the verbs with findings do at their end: SARIF, the baseline, and the exit status."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.alerts.address import without_secret
from edgeglass_diag.folders import fixed
from edgeglass_diag.process import say
from edgeglass_diag.records import Finding, Severity, UsageError

if TYPE_CHECKING:
    from edgeglass_diag.gate.known import Comparison, Known
    from edgeglass_diag.gate.results import Judged, Result


@dataclass(frozen=True)
class Gate:
    """What is to become of findings.

    Attributes:
        fail_on: lowest severity that fails, None if nothing does.
        sarif: file to write them to, None for none.
        baseline: file of the findings that are known, None without one.
        update: write the baseline instead of comparing with it.
        known: its findings; None without a baseline, or where it is written.
        command: the command line, which is kept in the baseline.
        root: folder of the repository, below which files of SARIF are named.
    """

    fail_on: Severity | None = None
    sarif: Path | None = None
    baseline: Path | None = None
    update: bool = False
    known: Sequence[Known] | None = None
    command: str = ""
    root: Path = Path()

    @classmethod
    def of(
        cls, fail_on: str | None, sarif: Path | None, baseline: Path | None, update: bool, *, secret: str | None = None
    ) -> Gate:
        """Return the gate of the options; before anything is run, the baseline is read and other files are tried.

        Args:
            fail_on: of --fail-on.
            sarif: of --sarif.
            baseline: of --baseline.
            update: of --update-baseline.
            secret: address in the command line of which a baseline keeps only what is not secret.

        Raises:
            UsageError: for a severity that --fail-on does not know, a baseline that cannot be read, a file that
                cannot be written, or --update-baseline without a baseline.
        """
        if fail_on not in (None, "warning", "critical"):
            raise UsageError(f"--fail-on: expected warning or critical, got {fail_on!r}")
        if update and baseline is None:
            raise UsageError("--update-baseline: expected --baseline FILE too, got none")
        known = None
        if baseline is not None and not update:
            from edgeglass_diag.gate.known import read_baseline

            known = read_baseline(baseline)
        _check_files(sarif, baseline if update else None)
        least = fail_on or (None if baseline is None else Severity.WARNING)
        line = shlex.join(["edgeglass-diag", *without_secret(sys.argv[1:], secret)])
        return cls(
            None if least is None else Severity(least), _fixed(sarif), _fixed(baseline), update, known, line, _root()
        )

    def fails(self, judged: Sequence[Judged], *, incomplete: str = "") -> bool:
        """Write what is to be written, say what is new, and return whether a finding fails.

        Args:
            judged: all that the command has judged.
            incomplete: why there may be more findings than were made, as "the program failed"; the baseline is then
                not written, and nothing is said to be gone.

        Raises:
            UsageError: if a file cannot be written.
        """
        if self.sarif is None and self.baseline is None:
            return self._any_at_limit(finding for one in judged for finding in one.findings)
        from edgeglass_diag.gate.results import results

        found = results(judged)
        comparison = self._compared(found, incomplete)
        if self.sarif is not None:
            from edgeglass_diag.gate.sarif import write_sarif

            states = None if comparison is None else _states(found, comparison)
            write_sarif(self.sarif, found, self.root, states=states)
        if self.update:
            self._update(found, incomplete)
            return False
        return self._any_at_limit(found if comparison is None else (*comparison.new, *comparison.worse))

    def end(self, judged: Sequence[Judged], *, incomplete: str = "") -> None:
        """Do as ``fails``, and end with exit status 1 if a finding fails."""
        if self.fails(judged, incomplete=incomplete):
            raise SystemExit(1)

    def _any_at_limit(self, found: Iterable[Finding | Result]) -> bool:
        limit = self.fail_on
        return limit is not None and any(Severity(each.severity).rank >= limit.rank for each in found)

    def _compared(self, found: Sequence[Result], incomplete: str) -> Comparison | None:
        if self.known is None:
            return None
        from edgeglass_diag.gate.known import compare

        comparison = compare(found, self.known)
        for word, those in (("new", comparison.new), ("worse than in the baseline", comparison.worse)):
            for each in those:
                where = f" at {each.site}" if each.site else ""
                say(f"{word}: {each.severity.upper()} {each.code} {each.name}{where}")
        known = len(found) - len(comparison.new) - len(comparison.worse)
        say(f"{len(comparison.new)} new, {len(comparison.worse)} worse, {known} known by {self.baseline}")
        if comparison.gone and not incomplete:
            gone = ", ".join(sorted({entry.code for entry in comparison.gone}))
            say(f"{len(comparison.gone)} of the baseline no longer occur ({gone}); --update-baseline takes them out")
        return comparison

    def _update(self, found: Sequence[Result], incomplete: str) -> None:
        assert self.baseline is not None
        if incomplete:
            say(f"{self.baseline} is not written: {incomplete}")
            return
        from edgeglass_diag.gate.known import write_baseline

        write_baseline(self.baseline, found, self.command)
        say(f"{self.baseline} is written: {len(found)} known")


def _check_files(sarif: Path | None, baseline: Path | None) -> None:
    """Raise UsageError if one of the files cannot be written."""
    if sarif is None and baseline is None:
        return
    from edgeglass_diag.gate.known import check_update, check_writable

    if sarif is not None:
        check_writable(sarif, "--sarif")
    if baseline is not None:
        check_update(baseline)


def _states(found: Sequence[Result], comparison: Comparison) -> dict[str, str]:
    """Return what a baseline says of each finding, in SARIF's words, by fingerprint."""
    states = {each.fingerprint: "unchanged" for each in found}
    states |= {each.fingerprint: "new" for each in comparison.new}
    return states | {each.fingerprint: "updated" for each in comparison.worse}


def _fixed(file: Path | None) -> Path | None:
    """Return the file where it is now; a program that runs may go elsewhere."""
    return None if file is None else fixed(file)


def _root() -> Path:
    """Return the folder of the repository that the working directory is in, else that directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
