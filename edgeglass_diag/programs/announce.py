"""Findings on stderr while a program runs, beside whatever it prints itself."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, TextIO

from edgeglass_diag.records import Finding, Window


def finding_text(finding: Finding) -> str:
    """One finding in one line without colours."""
    because = f" (because of {finding.because_of})" if finding.because_of else ""
    head = f"edgeglass-diag: {finding.severity.upper()} {finding.code} {finding.name} at step {finding.step}{because}"
    return f"{head}: {finding.message}"


class Announcer:
    """Told each window in the writing thread; prints what was found to ``stream`` unless ``silent``."""

    def __init__(self, stream: TextIO) -> None:
        self.silent = True
        self._stream = stream

    def window(self, window: Window, findings: list[Finding]) -> None:
        """Print the findings of a window."""
        for finding in () if self.silent else findings:
            # A program may have closed its stderr; that must not end the record.
            with contextlib.suppress(OSError, ValueError):
                _write(finding_text(finding), self._stream)


def _write(line: str, stream: TextIO) -> None:
    """One line; where tqdm draws bars it is asked to write, so that bars are cleared before and drawn again after."""
    tqdm: Any = sys.modules.get("tqdm")
    if tqdm is not None and getattr(tqdm.tqdm, "_instances", None):
        tqdm.tqdm.write(line, file=stream)
    else:
        print(line, file=stream, flush=True)
