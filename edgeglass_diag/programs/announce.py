"""Print findings to stderr while a program runs, without breaking its own output."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, TextIO

from edgeglass_diag.records import Finding, Window
from edgeglass_diag.verdict import ABOUT_THE_RECORD


def finding_text(finding: Finding) -> str:
    """Return one finding as one line without colours."""
    because = f" (because of {finding.because_of})" if finding.because_of else ""
    head = f"edgeglass-diag: {finding.severity.upper()} {finding.code} {finding.name} at step {finding.step}{because}"
    return f"{head}: {finding.message}"


class Announcer:
    """Print the findings of each window to ``stream``, in the writing thread, unless ``silent``."""

    def __init__(self, stream: TextIO | None) -> None:
        self.silent = True
        self._stream = stream

    def window(self, window: Window, findings: list[Finding]) -> None:
        """Print the findings of a window; those about the record itself in every process, as no other knows them."""
        for finding in findings:
            if self.silent and finding.code not in ABOUT_THE_RECORD:
                continue
            # A program may have closed its stderr; that must not end the record.
            with contextlib.suppress(OSError, ValueError):
                if self._stream is not None:
                    _write(finding_text(finding), self._stream)


def _write(line: str, stream: TextIO) -> None:
    """Print one line, through tqdm while it draws bars, so that it clears them before and redraws them after."""
    tqdm: Any = sys.modules.get("tqdm")
    if tqdm is not None and getattr(tqdm.tqdm, "_instances", None):
        tqdm.tqdm.write(line, file=stream)
    else:
        print(line, file=stream, flush=True)
