"""What a long and wide run takes: bytes for each reading, the writer's memory, judging, `findings`, first page.

No training takes 10^6 steps in minutes: windows are made up at the steps of the default schedule, with the signals that
a parameter has (gradient, weight, update, digest), and go through the real rules (rank 0) and the real store (each
rank). A number at full size that was not measured is by arithmetic from what was, and says so. Times are of the
processor, as others may use the machine.

    python tests/benchmarks/long_run.py                                   # 10^6 steps of 20 sites on 2 ranks: minutes
    python tests/benchmarks/long_run.py --sites 2000 --ranks 8 --written 2       # two of eight ranks: four minutes
    python tests/benchmarks/long_run.py --sites 2000 --ranks 8 --written 1 --signals 20 --steps 100000
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeglass_diag.records import Reading, Window
from edgeglass_diag.rules import CATALOGUE, Engine
from edgeglass_diag.schedule import Schedule
from edgeglass_diag.signals import metric
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, OPTIMIZER_LR, UPDATE_RATIO, WEIGHT_NORM
from edgeglass_diag.signals.ranks import GRADIENTS_AVERAGED, STATE_HELD, WEIGHT_DIGEST
from edgeglass_diag.sites import ParameterSite
from edgeglass_diag.store import RunWriter, load
from edgeglass_diag.store.compaction import WINDOWS
from edgeglass_diag.store.thinner import FEWEST, room, windows_of_a_stretch

FULL = {"steps": 10**6, "sites": 2000, "ranks": 8}
EARLY = 1000
"""Step of the first look at memory and judging; the second is at the end."""
SIGNALS = (GRADIENT_NORM, WEIGHT_NORM, UPDATE_RATIO, WEIGHT_DIGEST)
"""Of each site; what ``--signals`` asks for beyond them is made up of metrics, which no rule reads."""
WHOLE = (LOSS_TOTAL, LOSS_CHANCE, GRADIENT_NORM, STATE_HELD, GRADIENTS_AVERAGED)
LOOK = 100
"""Windows over which judging is averaged."""
LEAST = 8000
"""Fewest steps: behind them there are windows to look at late."""


def recorded_steps(steps: int) -> Iterator[int]:
    """Yield the steps that the default schedule records."""
    schedule = Schedule.of(None)
    candidates = (step for step in range(steps) if step < 128 or step % 10 == 0)
    return filter(schedule, candidates)


def windows_of(sites: int, rank: int, steps: int, signals: int = len(SIGNALS)) -> Iterator[Window]:
    """Yield the windows of a rank: weights and their digests are those of all, gradients are its own."""
    more = [metric(f"wide/{number}") for number in range(signals - len(SIGNALS))]
    shared, own = np.random.default_rng(0), np.random.default_rng(1 + rank)
    names = [f"encoder.layers.{number}.weight" for number in range(sites)]
    described = tuple(ParameterSite(path=name, shape=(64, 64), optimizer=0, group=0) for name in names)
    for number, step in enumerate(recorded_steps(steps)):
        loss = 4.85 / (1 + step / 9000)
        values = {
            GRADIENT_NORM: own.random(sites, np.float32) * 0.1 + 0.05,
            WEIGHT_NORM: shared.random(sites, np.float32) * 0.01 + 5 + step / 1e6,
            UPDATE_RATIO: own.random(sites, np.float32) * 1e-3 + 5e-4,
            WEIGHT_DIGEST: shared.integers(2**53, size=sites).astype(float),
            **{signal: own.random(sites, np.float32) for signal in more},
        }
        readings = [
            Reading(step, name, signal, (value,))
            for signal, column in values.items()
            for name, value in zip(names, column.tolist(), strict=True)
        ]
        readings += [
            Reading(step, "", signal, (value,))
            for signal, value in zip(WHOLE, (loss, 4.85, 1.0, float(sites), 1.0), strict=True)
        ]
        readings.append(Reading(step, "group0", OPTIMIZER_LR, (1e-3 / (1 + step / 1e5),)))
        yield Window(step, tuple(readings), described if number == 0 else ())


def resident() -> float:
    """Return the resident memory of this process in MB, free heap given back."""
    import ctypes

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1.024e-3


def write(folder: Path, options: argparse.Namespace, rank: int) -> dict[str, float]:
    """Write the record of one rank, that of rank 0 judged; return memory (MB) and milliseconds a window."""
    header = {"rank": rank, "world_size": options.ranks}
    writer = RunWriter(folder, name=folder.name, header=header)
    engine = Engine([rule() for rule in CATALOGUE]) if rank == 0 else None
    found: dict[str, float] = {}
    spent = {"judged": 0.0, "written": 0.0}
    count, readings = 0, 0
    made = windows_of(options.sites, rank, options.steps, options.signals)
    for window in made:
        begun = time.process_time()
        if engine is not None:
            engine.feed(window)
        judged = time.process_time()
        writer.write(window, engine.findings if engine is not None else ())
        spent["judged"] += judged - begun
        spent["written"] += time.process_time() - judged
        count, readings = count + 1, readings + len(window.readings)
        if count % LOOK == 0:
            for name, seconds in spent.items():
                when = "early" if window.step <= EARLY else "late"
                found[f"{name}_{when}"] = 1e3 * seconds / LOOK
            spent = dict.fromkeys(spent, 0.0)
        if window.step == EARLY:
            found["memory_early"] = resident()
    found["memory_late"] = resident()
    writer.finish("finished", {})
    assert engine is None or not engine.failures, engine.failures if engine else ""
    return {**found, "windows": count, "readings": readings}


def read(folder: Path) -> dict[str, float]:
    """Return the seconds of the processor that the findings and the first page of a run take."""
    from edgeglass_dashboards.app import draw_page
    from edgeglass_dashboards.runs import RunIndex

    begun = time.process_time()
    with load(folder) as run:
        number = len(run.findings)
        kept = len(run.series(GRADIENT_NORM, "encoder.layers.0.weight").steps)
        thinned = run.thinned
    found = time.process_time()
    draw_page(RunIndex(folder.parent), {"address": "/", "search": ""})
    return {
        "findings": found - begun, "page": time.process_time() - found, "number": number, "kept": kept,
        "until": min((one.whole_until for one in thinned), default=-1),
        "since": max((one.whole_since for one in thinned), default=0),
    }  # fmt: skip


def apart(*words: str) -> dict[str, float]:
    """Run a part of this benchmark in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def report(
    options: argparse.Namespace, first: dict[str, float], total: float, size: int, read_: dict[str, float]
) -> None:
    """Print the table."""
    windows = first["windows"]
    narrow, wide = (len(WHOLE) + 1) * windows, options.sites * options.signals * read_["kept"]
    each = size / (options.written * (narrow + wide))
    all_windows = len(list(recorded_steps(FULL["steps"])))
    wide_values = FULL["sites"] * options.signals
    most = min(WINDOWS, windows_of_a_stretch(wide_values, FULL["ranks"])) * (1 + FEWEST)
    wide_each = min(each * wide_values * all_windows, max(room(FULL["ranks"]), each * wide_values * most))
    full = FULL["ranks"] * (wide_each + each * (len(WHOLE) + 1) * all_windows)
    grown = first["memory_late"] - first["memory_early"]
    rows = [
        (
            "size on disk",
            f"{size / 1e6:.0f} MB of {options.written} ranks for {total / 1e6:.2f} million readings",
            "",
        ),
        (f"size of {options.ranks} such ranks", f"{size / 1e9 * options.ranks / options.written:.2f} GB", "1 GB"),
        ("windows kept of a signal of all sites", f"{read_['kept']:.0f} of {windows:.0f}", ""),
        ("of these all", f"up to step {read_['until']:.0f} and from {read_['since']:.0f} on", ""),
        ("bytes for each reading that is kept", f"{each:.1f}", ""),
        (f"rank 0's memory from step {EARLY} to the end", f"+{grown:.1f} MB", "5 MB"),
        ("judging a window, early and late", f"{first['judged_early']:.1f}, {first['judged_late']:.1f} ms", "flat"),
        ("writing a window, early and late", f"{first['written_early']:.1f}, {first['written_late']:.1f} ms", "flat"),
        (f"`findings` ({read_['number']:.0f} found)", f"{read_['findings']:.2f} s", "2 s"),
        ("first page of the dashboard, its data", f"{read_['page']:.2f} s", "1.5 s"),
    ]
    print(
        f"{options.steps} steps ({windows:.0f} windows), {options.signals} signals of {options.sites} sites, "
        f"{options.written} of {options.ranks} ranks;"
    )
    if any(getattr(options, name) != number for name, number in FULL.items()):
        what = f"size at 10^6 steps, 2000 sites, 8 ranks (arithmetic, {all_windows} windows)"
        rows.insert(2, (what, f"{full / 1e9:.2f} GB", "1 GB"))
    print(f"seconds of the processor; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| what | measured | aim |\n| --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    """Write each rank in a process of its own, read the run in another, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 10**6), ("sites", 20), ("ranks", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--signals", type=int, default=len(SIGNALS), help="of each site, four at least")
    parser.add_argument("--written", type=int, help="ranks that are written, of those of the run; all if left out")
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="folder of the run, new; a temporary one if left out")
    options = parser.parse_args()
    if options.steps < LEAST:
        parser.error(f"--steps must be at least {LEAST}, got {options.steps}")
    options.written = options.written or options.ranks
    if options.write is not None:
        print(json.dumps(write(options.out, options, options.write)))
        return
    if options.read:
        print(json.dumps(read(options.out)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = options.out or Path(folder) / "runs" / "long"
        given = [f"--{name}={getattr(options, name)}" for name in ("steps", "sites", "ranks", "signals")]
        places = [root, *(root / f"rank-{rank}" for rank in range(1, options.written))]
        written = [apart(*given, "--write", str(rank), "--out", str(place)) for rank, place in enumerate(places)]
        total = sum(answer["readings"] for answer in written)
        report(options, written[0], total, size_of(root), apart("--read", "--out", str(root)))


if __name__ == "__main__":
    main()
