"""One training of a case in a copy of this process: its measure, its record, how it ended."""

from __future__ import annotations

import contextlib
import io
import math
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeglass_diag.process import error_text
from edgeglass_models.exam import product
from edgeglass_models.exam.cases import Case

CPU_SECONDS = 15
"""What a case may take of one core, behind the imports."""


@dataclass(frozen=True)
class Trial:
    """How one training of a case went.

    Attributes:
        measure: the program's own on held-out data, higher is better; None where it printed none.
        crashed: why it did not come to its end, empty where it did.
        steps: optimizer steps that were recorded last, plus one.
        seconds: of CPU.
        fingerprint: of all recorded numbers.
        record: hash of the source that recorded.
    """

    measure: float | None
    crashed: str = ""
    steps: int = 0
    seconds: float = 0.0
    fingerprint: str = ""
    record: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)


def measure_in(output: str) -> float | None:
    """Return the number of the last line ``measure NAME VALUE``, -inf for NaN; None where there is no such line.

    >>> measure_in("loss 3\\nmeasure recall@1 0.75\\n"), measure_in("measure r2 nan"), measure_in("done")
    (0.75, -inf, None)
    """
    lines = [line.split() for line in output.splitlines() if line.startswith("measure ")]
    if not lines or len(lines[-1]) != 3:
        return None
    value = float(lines[-1][2])
    return -math.inf if math.isnan(value) else value


def run(case: Case, seed: int, scratch: Path, windows_file: Path) -> Trial:
    """Train a case in this process, which is a copy that ends thereafter.

    Args:
        case: what is trained.
        seed: given to the program.
        scratch: an empty folder, in which the program runs and writes.
        windows_file: where the windows are kept.
    """
    script = scratch / f"{case.program}.py"
    script.write_text(case.source)
    os.chdir(scratch)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    begun = time.process_time()
    with _captured() as output, _mistake(case):
        windows, error = product.watch(script, ["--seed", str(seed)], scratch / "watch")
    seconds = time.process_time() - begun
    failed = error is not None and not (isinstance(error, SystemExit) and not error.code)
    measure = measure_in(output.getvalue())
    crashed = error_text(error) if failed and error is not None else "" if measure is not None else "no measure"
    windows_file.write_bytes(product.pack(windows))
    steps = max((window.step for window in windows), default=-1) + 1
    return Trial(measure, crashed, steps, round(seconds, 2), product.fingerprint(windows), product.recorder_text())


@contextlib.contextmanager
def _mistake(case: Case) -> Iterator[None]:
    if case.operator is None or case.operator.around is None:
        yield
        return
    with case.operator.around():
        yield


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Take what the program prints; what it writes to stderr goes nowhere."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        os.dup2(nowhere.fileno(), 2)
        yield output
    sys.stdout.flush()


def clean(scratch: Path) -> None:
    """Remove a folder in which a program ran."""
    shutil.rmtree(scratch, ignore_errors=True)
