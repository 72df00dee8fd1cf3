"""What watching costs a program whose step takes a few milliseconds, on one core.

The time of a recorded window, of which the machine's noise is a part as well, is the median of the differences
between neighbouring blocks of watched and of plain steps; both are CPU seconds of the whole process, so that the
thread that judges and writes is among them, and other programs on the same core are not. Intervals are those of the
median, at 95 %. What a run costs in all follows from that and from which steps are recorded.

    taskset -c 0 python tests/benchmarks/small_programs.py             # tables in Markdown, some minutes
    taskset -c 0 python tests/benchmarks/small_programs.py --profile   # where the time of a window goes, as well
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch
from overhead_subjects import LATE, Step, build, plain_step
from scipy.stats import quantile_test

from edgeglass_diag.record import Recorder
from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.rules import Engine
from edgeglass_diag.rules.choice import choose_rules
from edgeglass_diag.schedule import USUAL, Schedule
from edgeglass_diag.store import RunWriter
from edgeglass_diag.watching import Watch

STEPS, WARM = 20, 5
"""Steps of a block, and recorded ones before it, which are not counted."""
RUNS = (100, 1000, 10_000, 100_000, 1_000_000)
PARTS = {
    "hooks, function mode, boundary": ("boundary", "function_mode", "module_hooks", "window_clock", "call_site",
                                       "profiler_ranges", "module_stack", "dispatch"),
    "what tensors are made of, names and sites": ("tensor_sources", "derivations", "facts", "nested", "naming",
                                                  "module_tree", "tree_snapshot", "module_sites", "site_registry",
                                                  "site_paths", "shards"),
    "statistics": ("/measures/",),
    "collecting and copying to the host": ("buffer",),
}  # fmt: skip
OTHERS = "observers"


def seconds(step: Step, *, until: Callable[[], bool]) -> tuple[float, float]:
    """CPU and wall time of a step in a block, which has ended when ``until`` says so."""
    begin = time.process_time(), time.perf_counter()
    for _ in range(STEPS):
        step()
    while not until():
        time.sleep(0.001)
    return (time.process_time() - begin[0]) / STEPS, (time.perf_counter() - begin[1]) / STEPS


def blocks(every: int, pairs: int) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """CPU and wall time of a plain and of a watched step, of neighbouring blocks."""
    step = plain_step(*build("small", "cpu"))
    for _ in range(STEPS):
        step()
    found = []
    for _ in range(pairs):
        plain = seconds(step, until=lambda: True)
        with tempfile.TemporaryDirectory() as folder:
            watch = Watch(Path(folder) / "run", every=every)
            watch._recorder._clock.step = LATE
            waiting = watch._windows._queue
            with watch:
                for _ in range(WARM):
                    step()
                while not waiting.empty():
                    time.sleep(0.001)
                found.append((plain, seconds(step, until=waiting.empty)))
    return found


def interval(values: list[float]) -> tuple[float, float, float]:
    """Median, and its interval at 95 %."""
    bounds = quantile_test(values, q=values[0], p=0.5).confidence_interval(0.95)
    return statistics.median(values), bounds.low, bounds.high


def table(every: int, name: str, pairs: int) -> float:
    """Print the rows of one cadence; return the CPU seconds by which a step is dearer."""
    found = blocks(every, pairs)
    for place, what in enumerate(("CPU", "wall")):
        ratio = interval([watched[place] / plain[place] for plain, watched in found])
        more = interval([1000 * (watched[place] - plain[place]) for plain, watched in found])
        step = 1000 * statistics.median(plain[place] for plain, _ in found)
        words = (f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
                 for (middle, low, high), digits in ((ratio, 2), (more, 1)))  # fmt: skip
        print(f"| {name} | {what} | {step:.1f} | {' | '.join(words)} |", flush=True)
    return statistics.median(watched[0] - plain[0] for plain, watched in found)


def runs(window: float, plain: float) -> None:
    """Print what runs of some lengths cost in all."""
    schedules = Schedule.of(None), Schedule(every=USUAL)
    print("\n| steps | windows by default | cost in CPU | windows with `--every 10` | cost in CPU |")
    print("| --- | --- | --- | --- | --- |")
    for steps in RUNS:
        taken = [sum(map(schedule, range(steps))) for schedule in schedules]
        each = [f"{count} | {count * window / (steps * plain):+.1%}" for count in taken]
        print(f"| {steps} | {' | '.join(each)} |", flush=True)


def recorded(count: int) -> tuple[list[PendingWindow], pstats.Stats]:
    """Windows, and the profile of the training thread."""
    step, windows = plain_step(*build("small", "cpu")), list[PendingWindow]()
    profiler = cProfile.Profile(time.thread_time)
    recorder = Recorder(lambda _: True, windows.append)
    recorder._clock.step = LATE
    with recorder:
        for number in range(count):
            if number == count // 2:
                profiler.enable()
            step()
        profiler.disable()
    return windows, pstats.Stats(profiler)


def shares(profile: pstats.Stats) -> Counter[str]:
    """Seconds of the recorder by part; those of functions in C count as their callers'."""
    found: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, callers) in profile.stats.items():  # type: ignore[attr-defined]
        inside = [(file, own)] if Path(file).is_file() else [(by[0], spent[2]) for by, spent in callers.items()]
        for path, spent in inside:
            if "edgeglass_diag" in path:
                part = (name for name, parts in PARTS.items() for each in parts if each in path.removesuffix(".py"))
                found[next(part, OTHERS)] += spent
    return found


def calls(step: Step) -> int:
    """Calls of functions written in Python in a step, in its thread."""
    number = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal number
        number += event == "call"

    sys.setprofile(count)
    try:
        step()
    finally:
        sys.setprofile(None)
    return number


def profile(windows: int = 60) -> None:
    """Print where the time of a window goes."""
    taken, profiled = recorded(windows)
    step = plain_step(*build("small", "cpu"))
    step()
    plain = calls(step)
    with Recorder(lambda _: True, lambda _: None):
        for _ in range(WARM):
            step()
        print(f"\nCalls of functions written in Python: {plain} in a plain step, {calls(step)} in a recorded one.")
    inside = shares(profiled)
    print("\n| training thread | share |\n| --- | --- |")
    for part, spent in inside.most_common():
        print(f"| {part} | {spent / inside.total():.0%} |")
    engine, spent = Engine(choose_rules(None)), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        store = RunWriter(Path(folder) / "run", name="small", header={"rules": []})
        for pending in taken:
            begin = time.thread_time()
            window = pending.resolve()
            read = time.thread_time()
            engine.feed(window)
            judged = time.thread_time()
            store.write(window, engine.findings)
            spent.update(resolve=read - begin, judge=judged - read, write=time.thread_time() - judged)
    print("\n| writing thread | ms per window |\n| --- | --- |")
    for part, total in spent.items():
        print(f"| {part} | {1000 * total / len(taken):.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--profile", action="store_true", help="where the time of a window goes")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("| windows | time | ms of a plain step | ratio (95 %) | ms more (95 %) |\n| --- | --- | --- | --- | --- |")
    table(10**9, "none recorded", given.pairs)
    window = table(1, "each recorded", given.pairs)
    runs(window, statistics.median(plain[0] for plain, _ in blocks(10**9, 8)))
    if given.profile:
        profile()


if __name__ == "__main__":
    main()
