"""Kills real runs by SIGKILL at random moments, and reads what they have left: ``killed_runs.py [NUMBER] [SEED]``.

Each run is a process of its own, ``edgeglass-diag run --every 1``. Counted are the records that can be read, the steps
and seconds that the newest of them lacks of what the program had printed, and records that say something untrue.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgeglass_diag.store import load

PROGRAM = """
import time
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(*(nn.Sequential(nn.Linear(32, 32), nn.Tanh()) for _ in range(6)))
optimizer = torch.optim.Adam(model.parameters())
for step in range(10**9):
    loss = F.cross_entropy(model(torch.randn(16, 32)), torch.arange(16))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, time.time(), flush=True)
"""


@dataclass(frozen=True)
class Left:
    """What a killed run has left: steps and seconds that are lost, and why it is no good where it is not."""

    steps: int
    seconds: float
    fault: str = ""


def kill_one(folder: Path, program: Path, wait: float) -> Left:
    """Start a run, kill it ``wait`` seconds after its first step, and read its record."""
    command = [str(Path(sys.executable).parent / "edgeglass-diag"), "run", "--every", "1", "--out", str(folder)]
    process = subprocess.Popen([*command, str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    printed = [process.stdout.readline()]
    reader = threading.Thread(target=lambda: printed.extend(process.stdout or ()), daemon=True)
    reader.start()
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    killed = time.time()
    process.wait()
    reader.join()
    times = {int(line.split()[0]): float(line.split()[1]) for line in printed if len(line.split()) == 2}
    try:
        with load(folder) as run:
            last = run.last_step
            readings = run.readings("loss/total", site="")
            if run.status != "failed":
                return Left(0, 0.0, f"status {run.status}")
            if [reading.step for _, reading in readings] != list(range(last + 1)):
                return Left(0, 0.0, "steps are missing in between")
            list(run.findings)
    except Exception as error:
        return Left(0, 0.0, f"{type(error).__name__}: {error}")
    newest = times.get(last, times.get(max(times), killed)) if last >= 0 else min(times.values())
    return Left(max(times) - last, max(0.0, max(times.values()) - newest))


def main(number: int, seed: int) -> int:
    """Kill runs, print what was lost, and return the exit status."""
    draw = random.Random(seed)
    waits = [draw.uniform(0, 3) for _ in range(number)]
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "train.py"
        program.write_text(PROGRAM)
        with ThreadPoolExecutor(2) as pool:
            left = list(pool.map(lambda i: kill_one(Path(place) / f"run-{i}", program, waits[i]), range(number)))
    faults = [one.fault for one in left if one.fault]
    good = [one for one in left if not one.fault]
    print(f"seed {seed}: {len(good)} of {number} killed runs are readable and true")
    if good:
        print(f"lost at most {max(o.steps for o in good)} steps, {max(o.seconds for o in good):.2f} s")
    for fault in faults:
        print(f"fault: {fault}")
    return 1 if faults or any(one.seconds > 1 for one in good) else 0


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in (sys.argv[1:] + ["200", "0"][len(sys.argv) - 1 :])[:2])))
