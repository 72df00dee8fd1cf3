"""What watching costs: the ratio of a watched to a plain training step, side by side with other tools.

Each tool runs in a process of its own, which alternates plain and watched blocks of steps and prints the median of
the ratios of neighbouring blocks. The default cadence costs a fraction of a percent, which blocks of ten steps do not
show on a machine that is faster or slower by five from one to the next: what ten steps take, the recorded one and its
followers, is told in steps of that cycle which are not recorded; what these cost is the row "off-window". Intervals
are those of the median, at 95 %.

Peak memory, of further processes that only train: all that is resident (the median of three), and what tensors hold,
as ``torch.cuda.max_memory_allocated`` tells on a GPU. In the former glibc gives blocks from 1 MiB on back to the
system at once: left to itself it keeps freed ones, and the peak of one and the same plain training differs by 5 %.

    python tests/benchmarks/overhead.py                     # all models and tools, a table in Markdown
    python tests/benchmarks/overhead.py perceiver every     # one of them

Other tools: pip install wandb torchlens cockpit-for-pytorch backpack-for-pytorch json_tricks "setuptools<81"
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from itertools import accumulate

import torch
from overhead_subjects import CADENCE, MODELS, TOOLS, Step, build, plain_step, tool
from torch.profiler import ProfilerActivity, profile

PEAKS = 3
LEAST = 6
"""Ratios of which the median has an interval at 95 %: (1/2)^5 is the probability that all lie on one side of it."""
FOLLOWERS = 2
"""Steps after a recorded one that may pay for it, as its window is written meanwhile."""


def clock(step: Step, steps: int, device: str) -> float:
    if device == "cuda":
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        for _ in range(steps):
            step()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return time.perf_counter() - start


def measure(model_name: str, tool_name: str, pairs: int, device: str) -> dict[str, float]:
    """Median ratio of watched to plain time, and its interval."""
    from scipy.stats import quantile_test  # 60 MiB, which have no place among the resident memory below

    model, optimizer, batch = build(model_name, device)
    step = plain_step(model, optimizer, batch)
    step()
    if tool_name == "default":
        with tool(tool_name, step, model, optimizer, batch) as run:
            ratios, plain_times = cycles(run, 2 * pairs, device)
    else:
        # The smallest ratio needs the most pairs; weights that are weighed each tenth step need blocks of ten.
        steps, count = {"every": (CADENCE, max(LEAST, pairs // 2)), "off": (1, 4 * pairs)}.get(tool_name, (2, pairs))
        ratios, plain_times = [], []
        for pair in range(count):
            times = {}
            for kind in ("plain", "tool") if pair % 2 else ("tool", "plain"):
                with ExitStack() as stack:
                    plain = kind == "plain"
                    run = step if plain else stack.enter_context(tool(tool_name, step, model, optimizer, batch))
                    run()  # not counted
                    times[kind] = clock(run, steps, device)
            ratios.append(times["tool"] / times["plain"])
            plain_times.append(times["plain"] / steps)
    interval = quantile_test(ratios, q=1, p=0.5).confidence_interval(0.95)
    found = {"ratio": statistics.median(ratios), "plain_seconds": statistics.median(plain_times)}
    return found | {"low": interval.low, "high": interval.high}


def cycles(run: Step, count: int, device: str) -> tuple[list[float], list[float]]:
    """Of each cycle of a watched run the time of all its steps, in steps that are not recorded; and these."""
    ratios, unrecorded = [], []
    for _ in range(CADENCE):  # the first of them is recorded, and so is every tenth from there
        run()
    for _ in range(count):
        times = [clock(run, 1, device) for _ in range(CADENCE)]
        usual = statistics.mean(times[1 + FOLLOWERS :])
        ratios.append(statistics.mean(times) / usual)
        unrecorded.append(usual)
    return ratios, unrecorded


def some_steps(model_name: str, tool_name: str | None, device: str) -> None:
    model, optimizer, batch = build(model_name, device)
    step = plain_step(model, optimizer, batch)
    with ExitStack() as stack:
        run = step if tool_name is None else stack.enter_context(tool(tool_name, step, model, optimizer, batch))
        for _ in range(CADENCE + 1 if tool_name == "default" else 3):  # a recorded one after the optimizer's state
            run()


def resident(model_name: str, tool_name: str | None, device: str) -> float:
    """Peak of all memory of this process, in MiB."""
    some_steps(model_name, tool_name, device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def held(model_name: str, tool_name: str | None, device: str) -> float:
    """Peak of what tensors hold, in MiB."""
    if device == "cuda":
        some_steps(model_name, tool_name, device)
        return torch.cuda.max_memory_allocated() / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        some_steps(model_name, tool_name, device)
    found = profiler.profiler.kineto_results.events()
    events = sorted((e for e in found if e.name() == "[memory]"), key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events)) / 2**20


def child(*arguments: str, **environment: str) -> dict[str, float] | str:
    """Result of this script in another process, or the last line of its error."""
    line = [sys.executable, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1]
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def peaks(common: tuple[str, ...], name: str) -> list[float]:
    """Medians of resident memory and of tensors, in MiB."""
    found = []
    for kind, processes in (("resident", PEAKS), ("held", 1)):
        each = [
            child(*common, "--tool", name, "--peak", kind, MALLOC_MMAP_THRESHOLD_=str(2**20)) for _ in range(processes)
        ]
        found.append(statistics.median(one["peak"] if isinstance(one, dict) else math.nan for one in each))
    return found


def table(models: list[str], tools: list[str], pairs: int, device: str) -> None:
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {pairs} pairs\n")
    print("| model | tool | ratio (95 %) | resident | tensors |\n| --- | --- | --- | --- | --- |")
    for model in models:
        common = ("--model", model, "--device", device)
        base = peaks(common, "plain")
        print(f"| {model} | none | 1 | {base[0]:.0f} MiB | {base[1]:.0f} MiB |", flush=True)
        for name in tools:
            time_of = child(*common, "--tool", name, "--pairs", str(pairs))
            if isinstance(time_of, str):
                print(f"| {model} | {TOOLS[name]} | does not run: {time_of[:90]} | | |", flush=True)
                continue
            ratio = f"{time_of['ratio']:.3f} ({time_of['low']:.3f} to {time_of['high']:.3f})"
            memory = [f"{peak / plain - 1:+.1%}" for peak, plain in zip(peaks(common, name), base, strict=True)]
            row = (f"{model} ({time_of['plain_seconds']:.2f} s)", TOOLS[name], ratio, *memory)
            print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help=f"models ({', '.join(MODELS)}) and tools ({', '.join(TOOLS)})")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.pairs < LEAST:
        parser.error(f"--pairs must be at least {LEAST}, got {given.pairs}")
    warnings.simplefilter("ignore")
    if given.peak:
        peak = {"resident": resident, "held": held}[given.peak]
        print(json.dumps({"peak": peak(given.model, None if given.tool == "plain" else given.tool, given.device)}))
    elif given.tool:
        print(json.dumps(measure(given.model, given.tool, given.pairs, given.device)))
    else:
        models = [m for m in MODELS if m in given.only] or list(MODELS)
        tools = [t for t in TOOLS if t in given.only] or list(TOOLS)
        table(models, tools, given.pairs, given.device)


if __name__ == "__main__":
    main()
