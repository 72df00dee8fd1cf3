"""Runs the suite on the accelerator there is, and prints its tables: ``make test-gpu``.

A bare machine needs this checkout, torch, numpy, psutil and safetensors, for ``answer`` also pydantic and PyYAML, for
``cost`` also scipy; no network::

    PYTHONPATH=.:models python3 -m tests.gpu                    # everything
    PYTHONPATH=.:models python3 -m tests.gpu identity waiting   # parts of it

Without CUDA the same runs on the CPU as far as it can: kinds that only CUDA has are skipped with a word, the model of
``answer`` has a tiny width, and ``cost`` has its own benchmark there (docs/cost.md). It ends with status 1 where a
watched training differs or the recorder waits.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

PARTS = ("identity", "waiting", "cost", "entropy", "answer")
ROOT = Path(__file__).parents[2]
NEEDS = {"cost": ("scipy",), "answer": ("pydantic", "yaml")}
ON_CUDA = {"waiting": "pytest tests/record/test_no_waiting.py", "cost": "python tests/benchmarks/overhead.py"}
"""Parts that only CUDA has, and what asks the same on the CPU."""
CORE = ("torch", "numpy", "psutil", "safetensors")


def main() -> int:
    """Run the parts; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is given")
    parts = parser.parse_args().parts or list(PARTS)
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        parser.error(f"expected parts of {', '.join(PARTS)}, got {', '.join(unknown)}")
    absent = missing(CORE)
    if absent:
        parser.error(f"this needs {', '.join(absent)}")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA begins; the same sums each time
    import torch

    from tests.gpu.programs import device

    on = device()
    name = torch.cuda.get_device_name(on) if on.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {on}, {name}", flush=True)
    if on.type != "cuda":
        print("no CUDA device: what only CUDA has is skipped")
    return max([_run(part, on.type) for part in parts])


def missing(modules: tuple[str, ...]) -> list[str]:
    """Return which of these cannot be imported."""
    return [module for module in modules if importlib.util.find_spec(module) is None]


def _run(part: str, device_type: str) -> int:
    print(f"\n## {part}\n", flush=True)
    absent = missing(NEEDS.get(part, ()))
    if absent:
        print(f"skipped: {', '.join(absent)} not installed")
        return 0
    if part == "identity":
        return identity()
    if part in ON_CUDA and device_type != "cuda":
        print(f"skipped: no CUDA device; on the CPU it is {ON_CUDA[part]}")
        return 0
    if part == "waiting":
        return waiting()
    line = {
        "cost": ["tests/benchmarks/overhead.py", "perceiver", "off", "default", "every", "--device", device_type],
        "entropy": ["tests/benchmarks/attention_entropy.py", "--device", device_type],
        "answer": ["-W", "ignore", "-m", "tests.gpu.full_width"],
    }[part]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "models"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run([sys.executable, *line], cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}).returncode


def identity() -> int:
    """Print for each kind whether a watched training is bit-identical; return 1 where one is not."""
    import torch

    from tests.gpu.kinds import KINDS, compare
    from tests.gpu.programs import device

    on, bad = device(), False
    torch.use_deterministic_algorithms(True, warn_only=True)
    print("| training | watched and unwatched | recorded windows |\n| --- | --- | --- |")
    for name, kind in KINDS.items():
        if kind.cuda and on.type != "cuda":
            print(f"| {name} | skipped: no CUDA device | |", flush=True)
            continue
        try:
            outcome = compare(kind, on)
        except Exception as error:
            bad = True
            print(f"| {name} | does not run: {' '.join(str(error).split())[:160]} | |", flush=True)
            continue
        bad = bad or not outcome.is_well
        print(f"| {name} | {outcome.text} | {outcome.windows} |", flush=True)
    return int(bad)


def waiting() -> int:
    """Print where the training thread waits for the device; return 1 where it does."""
    from tests.gpu.programs import device
    from tests.gpu.waiting import WINDOWS, waits

    found = {name: waits(device(), every) for name, every in WINDOWS.items()}
    print("| windows | the training thread waits |\n| --- | --- |")
    for name, places in found.items():
        print(f"| {name} | {'; '.join(dict.fromkeys(places)) or 'never'} |")
    return int(any(found.values()))


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    sys.exit(main())
