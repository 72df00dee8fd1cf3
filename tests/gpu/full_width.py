"""The incident at the width it was published with: which of rate, std of the latents and shared norm is the cause.

The recipe ``perceiver-vit-l-14`` at its own batch, precision and schedule, on drawn features with structure in the
place of those of a ViT-L-14 over photographs: no tower, no data and no network. ``explain`` replays what failed
(learning rate 2e-3, latents of std 0.02, one LayerNorm for latents and tokens) and what its report blames not (2e-4,
std 1, no LayerNorm), and each of the three changes in both, with three seeds.

Features: each pair shows ``SHOWN`` of ``CONCEPTS`` concepts. A concept is a direction of the token features, present in
an eighth of the tokens of an image, over noise and an offset that all images share, and a direction of the text
features; a caption is the sum of its concepts, with a tenth of noise.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeglass_diag.explanation.of_functions import InProcessRunner, explain_build
from edgeglass_diag.explanation.outcome import Outcome, measure
from edgeglass_diag.explanation.recipe_trials import RecipeTrial
from edgeglass_diag.explanation.report import ExplainReport
from edgeglass_diag.folders import read_header
from edgeglass_diag.store import load
from edgeglass_models.batches import sampled_dims
from edgeglass_models.build import build_model
from edgeglass_models.optim import make_optimizer
from edgeglass_models.recipes.loading import load_recipes
from edgeglass_models.recipes.settings import Recipe
from tests.gpu.programs import device

CONCEPTS, SHOWN, SHARE = 64, 3, 8
PAIRS = 14_000
FAILING = {"optim.lr": 2e-3, "model.init": "reported", "model.norm": "pre_shared"}
HEALTHY = {"optim.lr": 2e-4, "model.init": "randn", "model.norm": "none"}
SHAPE = (257, 1024, 768)
"""Tokens, their width, and the width of a caption: ViT-L-14's."""
TINY = ("model.width=64", "model.mrl_dims=[64,32]", "model.latent_width=32", "model.latents=8", "model.layers=2",
        "model.heads=4", "train.batch_size=16", "train.precision=32-true")  # fmt: skip
TINY_SHAPE = (17, 32, 24)
CELLS = [
    dict(zip(FAILING, values, strict=True)) for values in product(*zip(FAILING.values(), HEALTHY.values(), strict=True))
]
Cell = tuple[str, str, str]
"""Rate, std and norm."""


@dataclass(frozen=True)
class Answer:
    """What ``explain`` tells, and the outcome of every replay by its folder."""

    report: ExplainReport
    outcomes: Mapping[str, Outcome]


def drawn(recipe: Recipe, shape: Sequence[int], on: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield token features (B, L, Di) and text features (B, Dt) of new pairs, without end; the same for a seed."""
    tokens, width, text_width = shape
    fixed = torch.Generator(on).manual_seed(0)

    def normal(*size: int, generator: torch.Generator = fixed) -> Tensor:
        return torch.randn(*size, device=on, generator=generator)

    looks, words, offset = normal(CONCEPTS, width), normal(CONCEPTS, text_width), normal(width)
    batch, own = recipe.train.batch_size, torch.Generator(on).manual_seed(recipe.seed + 1)
    part = max(1, tokens // SHARE)
    while True:
        order = torch.rand(batch, CONCEPTS, device=on, generator=own).argsort(1)[:, :SHOWN]
        places = torch.rand(batch, tokens, device=on, generator=own).argsort(1)[:, : SHOWN * part]
        image = normal(batch, tokens, width, generator=own) + offset
        shown = looks[order].repeat_interleave(part, dim=1)
        image.scatter_add_(1, places[:, : shown.shape[1], None].expand(-1, -1, width), shown)
        yield image, words[order].sum(1) + 0.1 * normal(batch, text_width, generator=own)


def builder(overrides: Sequence[str], shape: Sequence[int], on: torch.device) -> Callable[..., Any]:
    """Return what ``explain`` calls for each replay: from settings to model, optimizer and step."""

    def build(settings: Mapping[str, Any]) -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], object]]:
        changed = [*overrides, *(f"{name}={value}" for name, value in settings.items())]
        (recipe,) = load_recipes("perceiver-vit-l-14", [*changed, f"seed={torch.initial_seed()}"])
        model = build_model(recipe.model, recipe.loss, image_width=shape[1], text_width=shape[2]).to(on)
        steps = recipe.train.epochs * (PAIRS // recipe.train.batch_size)
        optimizer, schedule = make_optimizer(model, recipe.optim, steps)
        pairs, taken = drawn(recipe, shape, on), iter(range(steps))
        mixed = torch.autocast(on.type, torch.bfloat16) if recipe.train.precision == "bf16-mixed" else nullcontext()

        def step() -> None:
            tokens, text = next(pairs)
            with mixed:
                loss = model(tokens, text, sampled_dims(recipe, next(taken)))["loss"]
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.max_grad_norm or torch.inf)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()

        return model, optimizer, step

    return build


def answer(*, steps: int, seeds: int, out: Path, on: torch.device, tiny: bool, budget: float | None) -> Answer:
    """Return what ``explain`` finds, and the outcome of every cell, also of those that it had no need of.

    Args:
        steps: of each replay.
        seeds: replays of each set of settings.
        out: new or empty folder, in which each replay is a run.
        on: device.
        tiny: whether the model has a tiny width, to try the command out: its answer says nothing of the published one.
        budget: seconds after which no replay begins.
    """
    deadline = None if budget is None else time.monotonic() + budget
    build = builder(TINY if tiny else (), TINY_SHAPE if tiny else SHAPE, on)
    report = explain_build(
        build, failing=FAILING, healthy=HEALTHY, out=out, steps=steps, seeds=range(seeds), budget=budget
    )
    told = {(cell_of(trial.out), trial.seed): trial.out for trial in report.trials}
    runner = InProcessRunner(build, out, deadline)
    for settings in CELLS:
        wanted = [seed for seed in range(seeds) if (_words(settings), seed) not in told]
        runner.run(RecipeTrial("cell", settings, seed, steps) for seed in wanted)
    folders = [*told.values(), *(outcome.folder for _, outcome in runner.done.values())]
    return Answer(report, {folder: _outcome(folder) for folder in folders})


def _outcome(folder: str) -> Outcome:
    with load(folder) as run:
        return measure(run)


def cell_of(folder: str) -> Cell:
    """Return the cell of a replay."""
    return _words(read_header(Path(folder))["settings"])


def _words(settings: Mapping[str, Any]) -> Cell:
    norm = {"pre_shared": "shared", "none": "none"}[settings["model.norm"]]
    return f"{settings['optim.lr']:g}", {"reported": "0.02", "randn": "1"}[settings["model.init"]], norm


def table(outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return the outcome of each cell of rate x std x norm in Markdown: over seeds, the smallest and the largest."""
    cells: dict[Cell, list[Outcome]] = {}
    for folder, outcome in outcomes.items():
        cells.setdefault(cell_of(folder), []).append(outcome)
    lines = ["| lr | std | norm | loss relative to chance | in-batch accuracy | learns | findings |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for cell, each in sorted(cells.items()):
        codes = sorted({code for outcome in each for code in outcome.codes})
        learns = f"{sum(outcome.learns() and outcome.loss < 0 for outcome in each)} of {len(each)}"
        spans = (_span([o.loss for o in each]), _span([o.accuracy for o in each]))
        lines.append(f"| {' | '.join([*cell, *spans, learns, ' '.join(codes)])} |")
    return lines


def _span(values: Sequence[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    lost = f" ({len(values) - len(known)} not finite)" if len(known) < len(values) else ""
    return (f"{min(known):.3f} to {max(known):.3f}" if known else "-") + lost


def main() -> None:
    """Print the verdict and the table."""
    on = device()
    tiny = on.type == "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30 if tiny else 300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tiny", action=argparse.BooleanOptionalAction, default=tiny)
    parser.add_argument("--budget", type=float, help="seconds after which no replay begins")
    parser.add_argument("--out", type=Path, help="folder of the replays; kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch) / "replays"
        found = answer(steps=given.steps, seeds=given.seeds, out=out, on=on, tiny=given.tiny, budget=given.budget)
        report = found.report
        width = "a tiny width, which says nothing of the published one" if given.tiny else "published width"
        print(
            f"perceiver-vit-l-14 at {width}, {on}, {report.steps} steps, {report.seconds:.0f} s\n\n{report.verdict}\n"
        )
        print("\n".join(table(found.outcomes)))


if __name__ == "__main__":
    main()
