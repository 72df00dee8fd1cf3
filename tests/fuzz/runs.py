"""Run folders for ``findings``: ``run.json``, the store, and the history beside them."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.command_line import run
from tests.fuzz.inputs import Input, Reader
from tests.fuzz.recipes import odd_value

READ = ("findings", "run")
AUDIT = ("audit", "run")


@cache
def whole_run() -> dict[str, bytes]:
    """Return the files of a run with readings, sites and findings."""
    from edgeglass_diag.records import Finding, Reading, RunStatus, Severity, Window
    from edgeglass_diag.signals import metric
    from edgeglass_diag.signals.parameters import OPTIMIZER_LR
    from edgeglass_diag.store import RunWriter

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        writer = RunWriter(folder, name="mine", header={"settings": {"train": {"batch_size": 64}}})
        for step in range(40):
            loss = Reading(step, "", metric("val/loss"), (5.0 - step / 10,))
            rate = Reading(step, "group0", OPTIMIZER_LR, (1e-3,))
            finding = Finding(
                "EG401", "loss-at-chance", Severity.WARNING, "", step, "Loss at chance: some words", {"loss": 4.85}
            )
            writer.write(Window(step, (loss, rate)), [finding] if step == 20 else [])
        writer.finish(RunStatus.FINISHED, {})
        return {f"run/{file.name}": file.read_bytes() for file in folder.iterdir() if file.is_file()}


def _seeds() -> list[Input]:
    return [Input(whole_run(), READ), Input(whole_run(), AUDIT)]


def header(random: Random) -> Input:
    """Return a run whose ``run.json`` has a value of another kind at some key."""
    files = whole_run()
    content: Any = json.loads(files["run/run.json"])
    for _ in range(random.choice((1, 1, 2))):
        content[random.choice([*content, "x", "rules", "settings", "program"])] = odd_value(random)
    if random.random() < 0.1:
        content = odd_value(random)
    return Input({**files, "run/run.json": json.dumps(content).encode()}, random.choice((READ, AUDIT)))


def read_losses(folder: Path) -> list[float]:
    """Return the losses of the run."""
    from edgeglass_diag.signals import metric
    from edgeglass_diag.store import load

    with load(folder / "run") as opened:
        return [reading.values[0] for _, reading in opened.readings(metric("val/loss"))]


def store(random: Random) -> Input:
    """Return the whole run; its bytes are changed by mutation, which is what breaks a store."""
    return Input(whole_run(), random.choice((READ, AUDIT)), [5.0 - step / 10 for step in range(40)])


RUNS = (
    Reader("run: run.json", cache(_seeds), header, run, read_losses, 0.5),
    Reader("run: store", cache(_seeds), store, run, read_losses, 0.5),
)
