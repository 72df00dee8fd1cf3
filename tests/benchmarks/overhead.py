"""What watching costs: the ratio of a watched to a plain training step, side by side with other tools.

Each tool runs in a process of its own, which alternates plain and watched blocks of steps and prints the median of
the ratios of neighbouring blocks; peak memory is the median of further processes that only train. In these glibc
gives blocks from 1 MiB on back to the system at once: left to itself it keeps freed ones, and the peak of one and the
same plain training differs by 5 % between processes.

    python tests/benchmarks/overhead.py                     # both models, all tools, a table in Markdown
    python tests/benchmarks/overhead.py perceiver every     # one of them

Other tools: pip install wandb torchlens cockpit-for-pytorch backpack-for-pytorch json_tricks "setuptools<81"
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack

import torch
from overhead_subjects import CADENCE, MODELS, TOOLS, Step, build, plain_step, tool

PEAKS = 3


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
    """Median ratio of watched to plain blocks; the first step of a block is not counted."""
    model, optimizer, batch = build(model_name, device)
    step = plain_step(model, optimizer, batch)
    step()
    # The smallest ratio needs the most pairs; a cadence, and weights that are weighed every tenth step, their length.
    whole = (CADENCE, max(3, pairs // 2))
    steps, pairs = {"default": whole, "every": whole, "off": (1, 4 * pairs)}.get(tool_name, (2, pairs))
    ratios, plain_times = [], []
    for pair in range(pairs):
        times = {}
        for kind in ("plain", "tool") if pair % 2 else ("tool", "plain"):
            with ExitStack() as stack:
                run = step if kind == "plain" else stack.enter_context(tool(tool_name, step, model, optimizer, batch))
                run()
                times[kind] = clock(run, steps, device)
        ratios.append(times["tool"] / times["plain"])
        plain_times.append(times["plain"] / steps)
    return {
        "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
        "plain_seconds": statistics.median(plain_times),
    }  # fmt: skip


def peak(model_name: str, tool_name: str | None, device: str) -> dict[str, float]:
    """Peak memory of a process that takes three steps, in MiB."""
    model, optimizer, batch = build(model_name, device)
    step = plain_step(model, optimizer, batch)
    with ExitStack() as stack:
        run = step if tool_name is None else stack.enter_context(tool(tool_name, step, model, optimizer, batch))
        for _ in range(3):
            run()
    if device == "cuda":
        return {"peak": torch.cuda.max_memory_allocated() / 2**20}
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}


def child(*arguments: str, **environment: str) -> dict[str, float] | str:
    """Result of this script in another process, or the last line of its error."""
    line = [sys.executable, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1]
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def peaks(common: tuple[str, ...], name: str) -> list[float]:
    """Peak memory of some processes, in MiB, in rising order."""
    found = [child(*common, "--peak", name, MALLOC_MMAP_THRESHOLD_=str(2**20)) for _ in range(PEAKS)]
    return sorted(each["peak"] for each in found if isinstance(each, dict))


def table(models: list[str], tools: list[str], pairs: int, device: str) -> None:
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {pairs} pairs\n")
    print("| model | tool | ratio (lowest to highest) | peak memory |\n| --- | --- | --- | --- |")
    for model in models:
        common = ("--model", model, "--device", device)
        base = peaks(common, "plain")
        print(f"| {model} | none | 1 | {base[0]:.0f} to {base[-1]:.0f} MiB |", flush=True)
        for name in tools:
            time_of = child(*common, "--tool", name, "--pairs", str(pairs))
            if isinstance(time_of, str):
                print(f"| {model} | {TOOLS[name]} | does not run: {time_of[:90]} | |", flush=True)
                continue
            ratio = f"{time_of['ratio']:.3f} ({time_of['low']:.3f} to {time_of['high']:.3f})"
            memory = peaks(common, name)
            shown = f"{statistics.median(memory) / statistics.median(base) - 1:+.1%}" if memory else ""
            print(f"| {model} ({time_of['plain_seconds']:.2f} s) | {TOOLS[name]} | {ratio} | {shown} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help=f"models ({', '.join(MODELS)}) and tools ({', '.join(TOOLS)})")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.peak:
        print(json.dumps(peak(given.model, None if given.peak == "plain" else given.peak, given.device)))
    elif given.tool:
        print(json.dumps(measure(given.model, given.tool, given.pairs, given.device)))
    else:
        models = [m for m in MODELS if m in given.only] or list(MODELS)
        tools = [t for t in TOOLS if t in given.only] or list(TOOLS)
        table(models, tools, given.pairs, given.device)


if __name__ == "__main__":
    main()
