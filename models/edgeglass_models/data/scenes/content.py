"""The content of scenes, their random generation, and their assignment to splits."""

import hashlib
import random
from dataclasses import dataclass, replace
from typing import Literal, get_args

Split = Literal["train", "val", "test"]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "big")
BACKGROUNDS = ("white", "grey", "black", "cream")
GRID = 3

_COUNT_WEIGHTS = (1, 6, 7, 6)  # of 1, 2, 3 and 4 objects; there are few different scenes of one object
_SPLIT_PERCENT: dict[Split, int] = {"train": 80, "val": 10, "test": 10}


@dataclass(frozen=True, order=True)
class SceneObject:
    """One object: shape, colour, size, and its grid cell (row, column), (0, 0) at the top left."""

    shape: str
    colour: str
    size: str
    place: tuple[int, int]


@dataclass(frozen=True)
class Scene:
    """Content of one image: 1 to 4 objects in different cells, a background, the seed of jitter and noise."""

    objects: tuple[SceneObject, ...]
    background: str
    noise: int


def stable_seed(*parts: object) -> int:
    """Return a 64-bit integer from the reprs of the parts, the same in every process, unlike hash()."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def split_of(scene: Scene) -> Split:
    """Return the split of a scene, from its objects alone: their order, background and noise do not count."""
    percent = stable_seed(sorted(scene.objects)) % 100
    for split, share in _SPLIT_PERCENT.items():
        if percent < share:
            return split
        percent -= share
    raise AssertionError("the shares of the splits do not sum to 100")


def sample_scene(split: Split, index: int, seed: int = 0, *, count: int | None = None) -> Scene:
    """Return scene number `index` of an endless stream of scenes of one split, with `count` objects if given.

    Scenes are drawn until one belongs to the split (see `split_of`). The same objects may occur at another index;
    `ScenePairs` skips repetitions.

    Raises:
        ValueError: if `split` is not train, val or test.
    """
    if split not in get_args(Split):
        raise ValueError(f"split: expected one of {', '.join(get_args(Split))}; got {split!r}")
    rng = random.Random(stable_seed("scene", split, index, seed))
    while split_of(scene := _any_scene(rng, count)) != split:
        pass
    return scene


def sample_look_alike(scene: Scene, index: int, seed: int = 0) -> Scene:
    """Return hard negative number `index` of a scene: another scene of its split with the same colours and sizes.

    At random the shapes or the places are the same too, but not both. Without such scenes in a batch, colours and sizes
    suffice to distinguish scenes, and a model learns nothing else.
    """
    rng = random.Random(stable_seed("look-alike", scene, index, seed))
    split = split_of(scene)
    while True:
        other = _any_scene(rng, len(scene.objects))
        kept = {"colour", "size"} | rng.choice(({"shape"}, {"place"}, set[str]()))
        objects = tuple(
            replace(new, **{name: getattr(old, name) for name in kept})
            for old, new in zip(scene.objects, other.objects, strict=True)
        )
        other = replace(other, objects=objects)
        if sorted(objects) != sorted(scene.objects) and split_of(other) == split:
            return other


def _any_scene(rng: random.Random, count: int | None = None) -> Scene:
    count = count or rng.choices(range(1, len(_COUNT_WEIGHTS) + 1), _COUNT_WEIGHTS)[0]
    objects = tuple(
        SceneObject(rng.choice(SHAPES), rng.choice(COLOURS), rng.choice(SIZES), divmod(cell, GRID))
        for cell in rng.sample(range(GRID * GRID), count)
    )
    return Scene(objects, rng.choice(BACKGROUNDS), rng.getrandbits(32))
