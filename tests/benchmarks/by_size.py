"""What the recorder takes by the size of the model: memory and time of a recorded window.

Sizes up to some 10^8 parameters train for real. Those of 10^9 and 7 x 10^9 are built on the device ``meta``, which has
shapes and no values: their sites and bytes are counted, their time follows from sites and parameters as the measured
times do (``a sites + b parameters``, least squares of the relative errors).

What is held over a step: of each parameter a sample before and after it, of at most 2^14 entries and 4 bytes each.

    python tests/benchmarks/by_size.py                 # 0.1, 10 and 100 million, 1 billion on meta, 7 billion
    python tests/benchmarks/by_size.py --sizes 0.1 10   # these alone are measured
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.measures.gradients import SAMPLED

TOKENS, BATCH = 16, 4


@dataclass(frozen=True)
class Shape:
    """A transformer encoder of that width and depth."""

    width: int
    layers: int

    @property
    def heads(self) -> int:
        """64 to a head, and one at least."""
        return max(1, self.width // 64)


SHAPES = {
    0.1: Shape(64, 2),
    10: Shape(384, 6),
    100: Shape(768, 14),
    1000: Shape(2048, 20),
    7000: Shape(4096, 35),
}
"""By millions of parameters."""


def build(shape: Shape, device: str = "cpu") -> nn.Module:
    """Return an encoder whose weights are its layers' alone, without embeddings: 12 width^2 in each."""
    with torch.device(device):
        layer = nn.TransformerEncoderLayer(shape.width, shape.heads, 4 * shape.width, batch_first=True, dropout=0.0)
        return nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)


def held(model: nn.Module) -> int:
    """Return the bytes of the samples of all parameters before and after a step."""
    return sum(2 * 4 * min(SAMPLED, parameter.numel()) for parameter in model.parameters())


def sites(model: nn.Module) -> int:
    """Return the number of modules, parameters and attentions."""
    attentions = sum(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    return sum(1 for _ in model.modules()) + sum(1 for _ in model.parameters()) + attentions


def resident_peak() -> int:
    """Return the peak of the resident memory so far, in bytes."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(million: float, *, watched: bool, steps: int) -> dict[str, float]:
    """Train some steps, each recorded where watched; return the median milliseconds of the processor and the peak."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build(SHAPES[million])
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    inputs = torch.randn(BATCH, TOKENS, SHAPES[million].width)

    def step() -> float:
        begun = time.thread_time()
        F.mse_loss(model(inputs), inputs.roll(1, 1)).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.thread_time() - begun

    if not watched:
        times = [step() for _ in range(steps)]
        return {"step": 1e3 * statistics.median(times), "peak": resident_peak()}
    with tempfile.TemporaryDirectory() as folder:
        with eg.watch(model, optimizer, out=folder + "/run", every=1, live=False):
            times = [step() for _ in range(steps)]
        with eg.load(folder + "/run") as run:
            readings = sum(len(run.readings(signal, after=0)) for signal in run.signals) / run.windows
    return {"step": 1e3 * statistics.median(times), "peak": resident_peak(), "readings": readings}


def apart(million: float, watched: bool, steps: int) -> dict[str, float]:
    """Measure in a process of its own."""
    words = [
        sys.executable,
        __file__,
        "--one",
        str(million),
        "--steps",
        str(steps),
        *(["--watched"] if watched else []),
    ]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def expected(measured: Sequence[tuple[int, int, float]], sites_: int, parameters: int) -> float:
    """Return the time that sites and parameters would take if it grew with both as it does among the measured ones."""
    known = np.array(measured, float)
    share, *_ = np.linalg.lstsq(known[:, :2] / known[:, 2:], np.ones(len(known)), rcond=None)  # relative errors count
    return float(share @ [sites_, parameters])


def main() -> None:
    """Measure the small ones, count the large ones, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.1, 10, 100], help="millions of parameters")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one, watched=options.watched, steps=options.steps)))
        return
    print(f"torch {torch.__version__}, one thread, its processor time; load of the machine {os.getloadavg()[0]:.1f}\n")
    print("| parameters | sites | readings a window | held over a step | peak | plain step | recorded window costs |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    measured: list[tuple[int, int, float]] = []
    for million, shape in SHAPES.items():
        model = build(shape, "meta")
        number = sum(parameter.numel() for parameter in model.parameters())
        cells = [f"{number / 1e6:,.1f} M", str(sites(model))]
        if million in options.sizes:
            plain, watched = (apart(million, kind, options.steps) for kind in (False, True))
            extra = watched["step"] - plain["step"]
            measured.append((sites(model), number, extra))
            grown = (watched["peak"] - plain["peak"]) / 2**20
            cells += [
                f"{watched['readings']:.0f}",
                f"{held(model) / 2**20:.2f} MiB",
                f"+{grown:.0f} MiB",
                f"{plain['step']:.0f} ms",
                f"+{extra:.1f} ms",
            ]
        else:
            time_ = f"+{expected(measured, sites(model), number):,.0f} ms (by arithmetic)" if len(measured) > 1 else ""
            cells += ["", f"{held(model) / 2**20:.2f} MiB (on meta)", "", "", time_]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
