"""Pointing game: does the attribution of a caption to the picture lie on the objects that the caption names?

    python tests/benchmarks/pointing.py                              # tiny_clip by itself, 300 unseen scenes
    python tests/benchmarks/pointing.py runs/incident/baseline ...   # trained runs too

A hit is a picture whose most positive patch has its centre in a named object's box. "all" gives each picture its own
caption, which names every object; "one" a caption of one of its objects alone, while the others are distractors.
Controls are other captions, counted on the same boxes: that of the next scene, and that of another object of the
same picture. Chance is the share of the picture that the boxes cover. Intervals: 95 %, percentile bootstrap.

Source: Top-down Neural Attention by Excitation Backprop (pointing game), https://arxiv.org/abs/1608.00507.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from edgeglass_diag.evaluation.attribution import attribute
from edgeglass_diag.measures.bootstrap import bootstrap_interval
from edgeglass_models.align import AlignmentModel
from edgeglass_models.data.scenes import Scene, boxes, caption, draw, sample_scene
from edgeglass_models.recipes.jobs import load_trained
from edgeglass_models.towers import Tower, load_tower
from edgeglass_models.views import make_views

SIZE = 64
GAMES = {
    "all: own caption": ("own", "all"),
    "all: caption of another scene": ("shuffled", "all"),
    "one: its caption": ("first", "first"),
    "one: caption of another object": ("second", "first"),
}


def inside(corners: list[tuple[float, float, float, float]]) -> Tensor:
    """Which pixels have their centre in one of the boxes, (SIZE, SIZE)."""
    place = torch.arange(SIZE) + 0.5
    found = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for left, top, right, bottom in corners:
        found |= ((place >= top) & (place < bottom))[:, None] & ((place >= left) & (place < right))[None]
    return found


def hits(maps: Tensor, grid: tuple[int, int], masks: Tensor) -> Tensor:
    """Whether the centre of the patch with the highest value lies in the mask, (N,); maps (N, units)."""
    rows, columns = grid
    best = maps[:, -rows * columns :].argmax(1)
    y = (best // columns * SIZE + SIZE // 2) // rows
    x = (best % columns * SIZE + SIZE // 2) // columns
    return masks[torch.arange(len(masks)), y, x].double()


def row(values: Tensor) -> str:
    low, high = bootstrap_interval(values[:, None], torch.arange(len(values)))[:, 0].tolist()
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def embed(tower: Tower, model: AlignmentModel | None, captions: list[str]) -> Tensor:
    with torch.no_grad():
        features = tower.text_features(tower.tokenizer(captions))
        return features if model is None else model.head(model.text_head(features))


def play(name: str, tower: Tower, model: AlignmentModel | None, scenes: list[Scene], steps: int) -> Iterator[str]:
    seen = make_views(tower, model, [(draw(scene, SIZE), caption(scene)) for scene in scenes])
    alone = [[caption(replace(scene, objects=scene.objects[k : k + 1])) for scene in scenes] for k in (0, 1)]
    texts = {"own": embed(tower, model, seen.captions), "first": embed(tower, model, alone[0])}
    texts |= {"shuffled": texts["own"].roll(1, 0), "second": embed(tower, model, alone[1])}
    masks = {"all": torch.stack([inside(boxes(scene, SIZE)) for scene in scenes])}
    masks["first"] = torch.stack([inside(boxes(scene, SIZE)[:1]) for scene in scenes])
    for view in seen.views:
        if view.grid is None:
            continue
        for game, (text, boxed) in GAMES.items():
            found = attribute(view.encode, view.inputs, texts[text], units=view.units, steps=steps)
            scores = [row(hits(m, view.grid, masks[boxed])) for m in (found.integrated_gradients, found.ablation)]
            chance = masks[boxed].double().mean()
            numbers = [*scores, f"{chance:.3f}", f"{found.error.max():.0e}"]
            yield f"| {' | '.join([name, view.name, game, *numbers])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders of recipes with tiny_clip")
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--steps", type=int, default=32)
    options = parser.parse_args()
    several = (s for i in range(100 * options.scenes) if len((s := sample_scene("test", i)).objects) > 1)
    scenes = [next(several) for _ in range(options.scenes)]
    print(f"{options.scenes} unseen scenes of two to four objects, {options.steps} steps\n")
    print("| model | view | game | integrated gradients | ablation | chance | largest error of the integral |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    tower = load_tower("tiny_clip")
    models = {"tiny_clip": None} | {path.name: load_trained(path)[0] for path in options.runs}
    for name, model in models.items():
        for line in play(name, tower, model, scenes, options.steps):
            print(line, flush=True)


if __name__ == "__main__":
    main()
