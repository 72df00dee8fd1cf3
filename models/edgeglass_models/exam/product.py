"""The one door to edgeglass-diag: watch a program, keep its windows, and judge them again without training.

What ``edgeglass-diag run`` gives to a program is a ``Watch`` around its launch; so does this, without rules. The
windows are kept as the writing thread has them, in the order and with the sites of which rules learn, so that rules
judge them later as they would have done during the training.
"""

from __future__ import annotations

import hashlib
import pickle
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import edgeglass_diag
from edgeglass_diag.catalogue import JUDGED as JUDGED
from edgeglass_diag.programs.launch import launch
from edgeglass_diag.programs.targets import Program
from edgeglass_diag.records import Finding, Severity, Window
from edgeglass_diag.rules import CATALOGUE, Engine
from edgeglass_diag.watching import Watch

EVERY = 10
"""Distance of recorded windows, the default of ``edgeglass-diag run``."""

_PACKAGE = Path(edgeglass_diag.__file__).parent
_RECORDING = ("record", "measures", "signals", "records.py", "sites.py", "site_paths.py", "schedule.py", "watching.py")
_JUDGING = ("rules", "signals", "measures", "records.py", "sites.py", "site_paths.py")


@dataclass(frozen=True)
class Judgement:
    """What the rules say of a record.

    Attributes:
        findings: those that stand at the end, informing ones too.
        withdrawn: codes that were critical before and are not at the end.
        failures: of rules that raised an exception, by code.
    """

    findings: tuple[Finding, ...]
    withdrawn: tuple[str, ...]
    failures: dict[str, str]


def watch(script: Path, arguments: Sequence[str], folder: Path) -> tuple[list[Window], BaseException | None]:
    """Run a script as ``__main__`` under watch; return its windows, and the exception that ended it.

    Args:
        script: the program.
        arguments: its command line.
        folder: where the watch keeps its own record, which nobody reads.
    """
    windows: list[Window] = []
    with Watch(folder, every=EVERY, rules=(), on_window=lambda window, _: windows.append(window)):
        error = launch(Program("script", str(script), tuple(arguments)))
    return windows, error


def judge(windows: Iterable[Window]) -> Judgement:
    """Return what all rules with their default thresholds say of a training that came to its own end."""
    engine = Engine([rule() for rule in CATALOGUE])
    critical: dict[tuple[str, str], str] = {}
    for window in windows:
        engine.feed(window)
        critical |= {f.key: f.code for f in engine.findings if f.severity is Severity.CRITICAL}
    engine.end()
    final = {finding.key for finding in engine.findings if finding.severity is Severity.CRITICAL}
    withdrawn = sorted({code for key, code in critical.items() if key not in final})
    return Judgement(tuple(engine.findings), tuple(withdrawn), dict(engine.failures))


def pack(windows: Sequence[Window]) -> bytes:
    """Return windows as bytes for the exam's own cache."""
    return zlib.compress(pickle.dumps(list(windows), protocol=5), 6)


def unpack(data: bytes) -> list[Window]:
    """Return the windows that ``pack`` was given; only for files that the exam itself has written."""
    windows: list[Window] = pickle.loads(zlib.decompress(data))
    return windows


def fingerprint(windows: Iterable[Window]) -> str:
    """Return a hash of all readings: two trainings with the same one have behaved alike, bit by bit."""
    digest = hashlib.sha256()
    for window in windows:
        for reading in window.readings:
            digest.update(repr((reading.step, reading.site, str(reading.signal), reading.values)).encode())
    return digest.hexdigest()


@cache
def recorder_text() -> str:
    """Return a hash of the source that records: a record of other text is made anew."""
    return _hash_of(_RECORDING)


@cache
def rules_text() -> str:
    """Return a hash of the source that judges."""
    return _hash_of(_JUDGING)


def _hash_of(names: Iterable[str]) -> str:
    places = [_PACKAGE / name for name in names]
    files = sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.py")))
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(_PACKAGE)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]
