"""Does ``explain`` name the cause in programs as they are? Faults in plain scripts, and programs of others.

    python tests/benchmarks/explain_programs.py FOLDER                       # all; what is there is not made again
    python tests/benchmarks/explain_programs.py FOLDER 'matryoshka:*--lines' '*rate*'
    python tests/benchmarks/explain_programs.py FOLDER --table               # only of what is there

Forms: ``arguments`` (an ill run ``--against`` a healthy one), ``lines`` (``--against-rev`` in a small git history), and
``findings`` (the ill run alone: which interventions cure). Each fault is among two innocent differences. Where nothing
from outside can take a fault away, the third form is right if nothing is named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.explain_cases import Case, plain_cases
from tests.benchmarks.explain_judged import Judged, judge
from tests.benchmarks.programs_of_others import other_cases

COMMAND = str(Path(sys.executable).parent / "edgeglass-diag")
RESULT = "judged.json"
COLUMNS = ("fault", "form", "named", "right", "innocent named", "seconds", "of a processor")
HEAD = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


class FailedError(Exception):
    """Raised if a command fails, with its last words."""


@dataclass(frozen=True)
class Done:
    """What a command printed, and the seconds of a processor that it and all its processes took."""

    printed: str
    processor: float


def call(words: Sequence[str], folder: Path, environment: Mapping[str, str], *, may_fail: bool = False) -> Done:
    """Run the command with some words in a folder, beside which its output is kept."""
    own = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **environment}
    printed, said = (folder.parent / f"{words[0]}.{ending}" for ending in ("out", "log"))
    with printed.open("w") as out, said.open("w") as log:
        process = subprocess.Popen([COMMAND, *words], cwd=folder, env=own, stdout=out, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and not may_fail:
        raise FailedError(said.read_text().replace("\r", "\n").strip().splitlines()[-1])
    return Done(printed.read_text(), used.ru_utime + used.ru_stime)


def record(case: Case, folder: Path, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the folder of a recorded run, made if it is not there; a fault may end the program."""
    out = folder.parent / name
    if not out.exists():
        line = ["run", "--out", str(out), *case.program, "--", *arguments]
        call(line, folder, {**case.surroundings, **environment}, may_fail=True)
    return str(out)


def examine(case: Case, place: Path, options: argparse.Namespace) -> Judged:
    """Return the explanation of a case, made if it is not there, and judged."""
    result, folder = place / RESULT, place / "program"
    if result.exists():
        return Judged.parse(result.read_text())
    if not folder.exists():
        case.prepare(folder)
    begun = time.monotonic()
    try:
        asked = question(case, folder)
        begun = time.monotonic()
        line = ["explain", "--json", "--out", str(place / "explained"), "--seeds", str(options.seeds)]
        done = call([*line, "--parallel", str(options.parallel), *asked], folder, case.surroundings)
        answer = json.loads(done.printed)
        (place / "answer.json").write_text(json.dumps(answer, indent=1))
        judged = replace(judge(case, answer, folder, time.monotonic() - begun), processor=done.processor)
    except FailedError as error:
        judged = Judged(case.title, case.form, (), False, (), time.monotonic() - begun, failed=f"failed: {error}")
    if not judged.failed:
        shutil.rmtree(place / "explained")
    result.write_text(judged.as_text())
    return judged


def question(case: Case, folder: Path) -> list[str]:
    """Return what is given to ``explain``: one run, two, or a program with a revision."""
    if case.form == "lines":
        return ["--against-rev", "HEAD~3", *case.program, "--", *case.ill]
    ill = record(case, folder, "ill", case.ill, case.environment)
    if case.form == "findings":
        return [ill]
    return [ill, "--against", record(case, folder, "healthy", case.healthy, {})]


def totals(rows: Sequence[Judged]) -> str:
    """Return the sums of a table, by form."""
    lines = []
    for form in dict.fromkeys(row.form for row in rows):
        of = [row for row in rows if row.form == form]
        right, innocent = sum(row.right for row in of), sum(bool(row.innocent) for row in of)
        slowest = max(row.seconds for row in of)
        lines.append(f"{form}: {right} of {len(of)} right, {innocent} name an innocent one, {slowest:.0f} s at most.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("patterns", nargs="*", default=["*"], help="of SCRIPT:FAULT--FORM")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="explanations at once")
    parser.add_argument("--parallel", type=int, default=2, help="replays at once of each")
    parser.add_argument("--table", action="store_true", help="only of what is there")
    options = parser.parse_args()
    chosen = [
        (case, options.folder.resolve() / case.name)
        for case in (*plain_cases(), *other_cases())
        if any(fnmatchcase(f"{case.title}--{case.form}", pattern) for pattern in options.patterns)
    ]
    if options.table:
        chosen = [(case, place) for case, place in chosen if (place / RESULT).exists()]
    print(HEAD)
    rows = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for judged in pool.map(lambda each: examine(*each, options), chosen):
            rows.append(judged)
            print(judged.row, flush=True)
    print(f"\n{totals(rows)}")


if __name__ == "__main__":
    main()
