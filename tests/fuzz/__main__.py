"""Give thousands of broken and of valid inputs to all readers: ``python -m tests.fuzz [--count N] [--seed S]``.

Each input must end in a result or in one line with exit status 2, within 20 s and 4 GiB, and valid files must give the
numbers that were written. What breaks that is saved, and the exit status is 1. An input is made again by
``--seed S --only READER --number N``.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.inputs import Reader
from tests.fuzz.outcomes import BROKEN, ENDED, HANG, KINDS
from tests.fuzz.readers import READERS


@dataclass
class Tally:
    """What came of the inputs of a reader, and how often in which place."""

    kinds: Counter[str] = field(default_factory=Counter)
    places: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, kind: str, place: str) -> None:
        """Count one."""
        self.kinds[kind] += 1
        if kind in BROKEN:
            self.places[kind, place] += 1


def try_reader(reader: Reader, seed: int, numbers: range, out: Path) -> Tally:
    """Give inputs to a reader in processes of their own: one that ends is followed by another."""
    tally = Tally()
    folder = out / reader.name.replace(" ", "-").replace(":", "")
    folder.mkdir(parents=True, exist_ok=True)
    first = numbers.start
    while first < numbers.stop:
        words = [
            sys.executable,
            "-m",
            "tests.fuzz.worker",
            reader.name,
            str(seed),
            str(first),
            str(numbers.stop),
            str(folder),
        ]
        begun = first
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:
                said = json.loads(line)
                if "begin" in said:
                    begun = said["begin"]
                else:
                    tally.add(said["kind"], said["place"])
            errors = process.stderr.read()
        if process.returncode == 0:
            break
        stack = (folder / "stacks.txt").read_text()
        kind = HANG if "Timeout" in stack else ENDED
        where = next(
            (line.strip() for line in stack.splitlines() if "edgeglass" in line),
            f"{process.returncode}: {errors[-300:]}",
        )
        tally.add(kind, where)
        _save(reader, seed, begun, folder, where)
        first = begun + 1
    return tally


def _save(reader: Reader, seed: int, number: int, folder: Path, words: str) -> None:
    from tests.fuzz.worker import input_of, save

    save(folder / str(number), input_of(reader.name, seed, number)[1], words)


def table(tallies: dict[str, Tally]) -> str:
    """Return the counts as a table of Markdown."""
    rows = [["reader", "inputs", *KINDS]]
    for name, tally in tallies.items():
        rows.append([name, str(tally.kinds.total()), *(str(tally.kinds[kind]) for kind in KINDS)])
    total: Counter[str] = sum((tally.kinds for tally in tallies.values()), Counter())
    rows.append(["all", str(total.total()), *(str(total[kind]) for kind in KINDS)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"| --- |{' ---: |' * (len(rows[0]) - 1)}", *lines[1:]])


def main() -> int:
    """Run, print the table and the places, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=22_000, help="inputs over all readers")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--only", action="append", default=[], help="name of a reader, or its beginning")
    parser.add_argument("--number", type=int, help="of a single input")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/fuzz"), help="folder of the inputs that broke the promise"
    )
    given = parser.parse_args()
    chosen = [
        reader for reader in READERS if not given.only or any(reader.name.startswith(name) for name in given.only)
    ]
    print(f"seed {given.seed}", flush=True)
    whole = sum(reader.share for reader in chosen)

    def tried(reader: Reader) -> Tally:
        count = max(1, round(given.count * reader.share / whole))
        numbers = range(count) if given.number is None else range(given.number, given.number + 1)
        tally = try_reader(reader, given.seed, numbers, given.out)
        print(f"{reader.name}: {dict(tally.kinds)}", file=sys.stderr, flush=True)
        return tally

    with ThreadPoolExecutor(2) as pool:
        tallies = dict(zip((reader.name for reader in chosen), pool.map(tried, chosen), strict=True))
    print(table(tallies))
    for name, tally in tallies.items():
        for (kind, where), count in tally.places.most_common():
            print(f"{count:6} {name}: {kind}: {where}")
    broken = sum(tally.kinds[kind] for tally in tallies.values() for kind in BROKEN)
    if broken:
        print(f"{broken} inputs broke the promise; examples in {given.out}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
