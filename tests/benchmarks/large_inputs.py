"""Seconds and memory of the sizes that must work; the files are generated on the spot.

Usage: python tests/benchmarks/large_inputs.py [NAME ...]
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

COMMAND = [str(Path(sys.executable).parent / "edgeglass-diag")]
READING = (
    "import sys; from pathlib import Path; from edgeglass_diag.evaluation.sources import read_embeddings; "
    "print(read_embeddings(Path(sys.argv[1])).image.shape)"
)
ROWS = 1_000_000
COLUMNS = 10_000
NAMES = ("step", "epoch", "train_loss", "val_loss", "lr", "i2t_R@1", "grad_norm", "logit_scale")


def _rows() -> Iterator[list[float]]:
    draw = random.Random(0)
    for step in range(ROWS):
        yield [step, step // 1000, *(round(draw.uniform(0, 5), 6) for _ in NAMES[2:])]


def csv_rows(folder: Path) -> Path:
    """Write 10^6 rows of 8 columns."""
    file = folder / "rows.csv"
    with file.open("w") as out:
        out.write(",".join(NAMES) + "\n")
        out.writelines(",".join(map(repr, row)) + "\n" for row in _rows())
    return file


def jsonl_rows(folder: Path) -> Path:
    """Write the same as JSON lines."""
    file = folder / "rows.jsonl"
    with file.open("w") as out:
        out.writelines(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in _rows())
    return file


def csv_columns(folder: Path) -> Path:
    """Write 10^4 columns of 1000 rows, one of them a loss."""
    file = folder / "columns.csv"
    draw = random.Random(0)
    with file.open("w") as out:
        out.write(",".join(["val_loss", *(f"layer{i}/weight/grad_norm" for i in range(COLUMNS - 1))]) + "\n")
        for _ in range(1000):
            out.write(",".join(f"{draw.uniform(0, 5):.6g}" for _ in range(COLUMNS)) + "\n")
    return file


def loss_columns(folder: Path) -> Path:
    """Write 10^4 losses of 100 rows, each of which is judged."""
    file = folder / "losses.csv"
    draw = random.Random(0)
    with file.open("w") as out:
        out.write(",".join(f"val_loss_part{i}" for i in range(COLUMNS)) + "\n")
        for _ in range(100):
            out.write(",".join(f"{draw.uniform(0, 5):.6g}" for _ in range(COLUMNS)) + "\n")
    return file


def events(folder: Path) -> Path:
    """Write 10^5 events of two scalars as torch does."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder / "tb") as writer:
        for step in range(ROWS // 10):
            writer.add_scalar("train/loss", 5 / (1 + step), step)
            writer.add_scalar("lr", 1e-3, step)
    return folder / "tb"


def npy(folder: Path) -> Path:
    """Write 1 GB of embeddings: 262,144 pairs of 512 numbers."""
    file = folder / "large.npy"
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(2, 1 << 18, 512))
    draw = np.random.default_rng(0)
    for start in range(0, 1 << 18, 4096):
        array[:, start : start + 4096] = draw.standard_normal((2, 4096, 512), dtype=np.float32)
    array.flush()
    return file


CASES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "10^6 rows, CSV": ("audit", csv_rows),
    "10^6 rows, JSON lines": ("audit", jsonl_rows),
    "10^4 columns, CSV": ("audit", csv_columns),
    "10^4 losses, CSV": ("audit", loss_columns),
    "2 x 10^5 scalars, TensorBoard": ("audit", events),
    "1 GB, npy (reading alone)": (READING, npy),
}


def main(names: list[str]) -> None:
    """Print a row of Markdown for each case."""
    print("| input | file, MB | seconds | peak memory, MB | exit status |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (verb, make) in CASES.items():
        if names and not any(name.find(word) >= 0 for word in names):
            continue
        with tempfile.TemporaryDirectory() as place:
            path = make(Path(place))
            size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))
            command = [sys.executable, "-c", READING] if verb == READING else [*COMMAND, verb]
            begun = time.perf_counter()
            with subprocess.Popen([*command, str(path)], stdout=subprocess.DEVNULL) as process:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - begun
        peak = used.ru_maxrss / 1024
        print(f"| {name} | {size / 1e6:.0f} | {seconds:.1f} | {peak:.0f} | {process.returncode} |", flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main(sys.argv[1:])
