"""Rendering of scenes."""

import math
import random
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from edgeglass_models.data.scenes.content import GRID, Scene, SceneObject

Point = tuple[float, float]

_COLOURS = {
    "red": (215, 25, 30),
    "orange": (250, 135, 15),
    "yellow": (245, 220, 40),
    "green": (35, 150, 55),
    "cyan": (50, 205, 215),
    "blue": (35, 70, 215),
    "purple": (125, 40, 160),
    "pink": (250, 125, 185),
}
_BACKGROUNDS = {"white": (245, 245, 245), "grey": (135, 135, 135), "black": (18, 18, 18), "cream": (235, 222, 195)}
_RADIUS = {"small": 0.26, "big": 0.46}  # of a grid cell's side
_JITTER = 0.06  # of a grid cell's side
_HOLE = 0.5  # of a ring's radius
_NOISE = 10  # largest deviation of a channel, of 255
_SUPERSAMPLE = 4


def _polygon(corners: int, radii: tuple[float, ...], turn: float = -0.25) -> list[Point]:
    """Return corners at equal angles with cyclic radii; the first is `turn` of a full turn past 3 o'clock."""
    angles = [2 * math.pi * (turn + k / corners) for k in range(corners)]
    return [(radii[k % len(radii)] * math.cos(a), radii[k % len(radii)] * math.sin(a)) for k, a in enumerate(angles)]


def _heart(corners: int = 24) -> list[Point]:
    angles = [2 * math.pi * k / corners for k in range(corners)]
    heights = [13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a) for a in angles]
    return [(math.sin(a) ** 3, -height / 16) for a, height in zip(angles, heights, strict=True)]


def _cross(arm: float = 0.36) -> list[Point]:
    corner = [(-arm, -arm), (-arm, -1.0), (arm, -1.0)]
    turns = [(1, 0), (0, 1), (-1, 0), (0, -1)]  # cosine and sine of each quarter turn
    return [(c * x - s * y, s * x + c * y) for c, s in turns for x, y in corner]


_OUTLINES = {
    "circle": _polygon(32, (0.95,)),
    "square": _polygon(4, (1.2,), turn=0.125),
    "triangle": [(0.0, -0.95), (1.0, 0.8), (-1.0, 0.8)],
    "star": _polygon(10, (1.1, 0.45)),
    "cross": _cross(),
    "ring": _polygon(32, (1.0,)),
    "diamond": _polygon(4, (1.05, 0.66)),
    "heart": _heart(),
}


def draw(scene: Scene, size: int = 64) -> Image.Image:
    """Render the scene as an RGB image of `size` x `size` pixels.

    Objects are jittered within their cells, and each channel of each pixel has noise of up to 10 of 255, both seeded
    by `scene.noise`: the same scene has the same pixels.
    """
    side = size * _SUPERSAMPLE
    background = _BACKGROUNDS[scene.background]
    picture = Image.new("RGB", (side, side), background)
    pen = ImageDraw.Draw(picture)
    for item, outline, hole in _outlines(scene, side):
        pen.polygon(outline, _COLOURS[item.colour])
        if hole:
            pen.polygon(hole, background)
    pixels = np.asarray(picture.reduce(_SUPERSAMPLE), dtype=np.int16)
    # NumPy guarantees the stream of RandomState (NEP 19), not that of the newer Generator.
    noise = np.random.RandomState(scene.noise).randint(-_NOISE, _NOISE + 1, pixels.shape, dtype=np.int8)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def boxes(scene: Scene, size: int = 64) -> list[tuple[float, float, float, float]]:
    """Return the box (left, top, right, bottom) of each object in pixels, clipped at the image's border."""
    found = []
    for _, outline, _ in _outlines(scene, size):
        xs, ys = ([min(max(value, 0.0), float(size)) for value in values] for values in zip(*outline, strict=True))
        found.append((min(xs), min(ys), max(xs), max(ys)))
    return found


def _outlines(scene: Scene, side: int) -> Iterator[tuple[SceneObject, list[Point], list[Point]]]:
    """Yield each object with its outline and that of its hole, empty without one, in an image of `side` pixels."""
    jitter = random.Random(scene.noise)
    cell = side / GRID
    for item in scene.objects:
        y, x = ((k + 0.5 + jitter.uniform(-_JITTER, _JITTER)) * cell for k in item.place)
        radius = _RADIUS[item.size] * cell
        outline = [(x + radius * u, y + radius * v) for u, v in _OUTLINES[item.shape]]
        hole = [(x + _HOLE * radius * u, y + _HOLE * radius * v) for u, v in _OUTLINES[item.shape]]
        yield item, outline, hole if item.shape == "ring" else []
