"""An explanation as ``explain`` leaves it: a marked run, and the folder of its replays beside it."""

import json
import math
import shutil
from pathlib import Path

from edgeglass_diag.explanation.axes import cells_of, label_of, parse_axes
from edgeglass_diag.explanation.mapping import CellResult, phase_map
from edgeglass_diag.explanation.outcome import Outcome
from edgeglass_diag.marks import FindingMark, Mark, write_marks
from edgeglass_diag.store import RunWriter
from tests.helpers.dashboard_runs import CHANCE, CONSTANT, UPDATES, window, write_collapsed

CURE = "learning rate x 0.1"
BY = f"{CURE} cures (3/3)"
VERDICT = f"Cause: the learning rate. {BY}; re-drawing the latents does not (0/3)."
CHANGES = {
    "nothing changed": "control",
    "learning rate x 1": "placebo",
    CURE: "intervention",
    "latents drawn anew": "intervention",
}


def write_trial(folder: Path, *, learns: bool, seed: int = 0, steps: int = 60) -> None:
    writer = RunWriter(folder, name=folder.name, header={})
    for step in range(0, steps, 5):
        fall = 0.8 * (1 - math.exp(-step / 25)) if learns else 0.0
        writer.write(window(step, loss=CHANCE * (1 - fall) + 0.03 * math.sin(step + seed)))
    writer.finish("stopped", {})


def add_trial(folder: Path, out: Path, *, learns: bool) -> None:
    """Write a replay once and copy it for the others."""
    name = "learning" if learns else "failing"
    if not (first := out / "trials" / name).exists():
        write_trial(first, learns=learns)
    shutil.copytree(first, folder)


def trial(out: Path, label: str, kind: str, seed: int) -> dict[str, object]:
    """Write a replay and return its row."""
    ill = label != CURE
    folder = out / "trials" / f"{label.replace(' ', '-')}-{seed}"
    add_trial(folder, out, learns=not ill)
    found = ["EG301", "EG401"] if ill else []
    row = {"label": label, "kind": kind, "seed": seed, "loss": -0.72 if not ill else 0.001, "accuracy": 0.4}
    return row | {"ill": ill, "steps": 60, "findings": found, "out": str(folder), "ending": "stopped"}


def tried(setting: str, cured: str, **facts: object) -> dict[str, object]:
    row = {"kind": "intervention", "setting": setting, "ill": None, "healthy": None, "where": None}
    return row | {"cured": cured, "made_ill": None, "together": []} | facts


def write_explained(root: Path, **facts: object) -> tuple[Path, Path]:
    """Write the run ``perceiver`` and its explanation ``why``, with ``facts`` in place of those of ``explain.json``."""
    run, out = root / "perceiver", root / "why"
    write_collapsed(run)
    marks = [
        FindingMark(UPDATES.code, UPDATES.site, Mark.CONFIRMED, BY),
        FindingMark(CONSTANT.code, CONSTANT.site, Mark.REFUTED, "latents drawn anew do not cure (0/3)"),
        FindingMark("EG205", "optimizer", Mark.NOT_ASKED),
    ]
    names = {UPDATES.code: UPDATES.name, CONSTANT.code: CONSTANT.name, "EG205": "schedule-overrun"}
    content = {
        "verdict": VERDICT,
        "run": str(run),
        "causes": [tried(CURE, "3/3", ill=0.002, healthy=0.0002, where="train.py:41")],
        "not_causes": [tried("latents drawn anew", "0/3")],
        "findings": [
            {"code": m.code, "name": names[m.code], "site": m.site, "mark": m.mark, "by": m.by} for m in marks
        ],
        "trials": [trial(out, label, kind, seed) for label, kind in CHANGES.items() for seed in range(3)],
        "border": -0.05, "steps": 60, "finished": True, "seconds": 84.2, "guard": "Landlock", "noise": 0.0,
    }  # fmt: skip
    (out / "explain.json").write_text(json.dumps(content | facts), encoding="utf-8")
    write_marks(run, marks, str(out))
    return run, out


MAP_AXES = ("optim.lr=1e-3,0.1", "model.init=0.02,1.0", "model.norm=none,pre")
MAP_VERDICT = "Of 8 cells (1 seed of 60 steps each): 5 learn, 2 collapsed, 1 crashed."


def write_mapped(root: Path, **more: object) -> tuple[Path, Path]:
    """Write the run ``perceiver`` and a map of it, ``map``: without norms it collapses at the high rate.

    Args:
        root: folder of both.
        more: facts of ``explain.json``.
    """
    axes = parse_axes(MAP_AXES)
    results = {cell: _cell_result(cell) for cell in cells_of(axes)}
    found = phase_map(axes, results).model_dump(mode="json")
    trials = []
    for cell, result in results.items():
        folder = root / "map" / "trials" / "-".join(cell)
        row = {"label": label_of(axes, cell), "kind": "cell", "seed": 0, "steps": 60, "out": str(folder)}
        if result.outcomes:
            learns = cell[0] == "1e-3" or cell[2] == "pre"
            add_trial(folder, root / "map", learns=learns)
            trials.append(row | {"loss": result.outcomes[0].loss, "ill": not learns, "ending": "finished"})
        else:
            trials.append(row | {"ill": True, "ending": "crashed"})
    facts = {"verdict": MAP_VERDICT, "causes": [], "not_causes": [], "findings": [], "noise": None, "guard": "", **more}
    run, why = write_explained(root, **facts, trials=trials, map=found)
    (why / "explain.json").rename(root / "map" / "explain.json")
    write_marks(run, [], str(root / "map"))
    return run, root / "map"


def _cell_result(cell: tuple[str, ...]) -> CellResult:
    rate, std, norm = cell
    if cell == ("0.1", "1.0", "pre"):
        return CellResult(crashed=1)
    if (rate, norm) == ("0.1", "none"):
        return CellResult([Outcome(0.0, 0.01, 60, ("EG301",), accuracy_bound=0.05)])
    return CellResult([Outcome(-0.3 if std == "0.02" else -0.8, 0.5, 60)])
