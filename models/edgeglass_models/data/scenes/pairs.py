"""Scenes of a split as pairs of image and caption."""

import hashlib
from collections.abc import Generator, Sequence

from PIL import Image

from edgeglass_models.data.scenes.captions import caption
from edgeglass_models.data.scenes.content import Scene, SceneObject, Split, sample_scene
from edgeglass_models.data.scenes.drawing import draw


class ScenePairs:
    """The first `n` distinct scenes of a split, each with one caption, rendered on access.

    `ScenePairs(split, m)` begins with the scenes of `ScenePairs(split, n)` for n < m. Different splits share no scene,
    for any seeds.

    Raises:
        ValueError: if `split` is unknown, or `n` or `size` is not positive.
    """

    def __init__(self, split: Split, n: int, seed: int = 0, size: int = 64) -> None:
        if n < 1 or size < 1:
            raise ValueError(f"n and size: expected positive numbers; got n={n}, size={size}")
        self.split, self.seed, self.size = split, seed, size
        self.scenes = _different_scenes(split, n, seed)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, i: int) -> tuple[Image.Image, str]:
        """Return image and caption number i."""
        return draw(self.scenes[i], self.size), caption(self.scenes[i], self.seed)

    def captions(self, i: int) -> tuple[str, ...]:
        """Return the caption of image number i, as a tuple."""
        return (caption(self.scenes[i], self.seed),)

    def pictures(self, indices: Sequence[int]) -> Generator[Image.Image, None, None]:
        """Yield the images of these numbers, rendered one at a time."""
        return (draw(self.scenes[i], self.size) for i in indices)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the scenes, their captions and the first image's pixels, in hexadecimal."""
        digest = hashlib.sha256(repr((self.size, self.scenes)).encode())
        for scene in self.scenes:
            digest.update(caption(scene, self.seed).encode() + b"\n")
        digest.update(draw(self.scenes[0], self.size).tobytes())
        return digest.hexdigest()


def _different_scenes(split: Split, n: int, seed: int) -> tuple[Scene, ...]:
    scenes: dict[tuple[SceneObject, ...], Scene] = {}
    index = 0
    while len(scenes) < n:
        scene = sample_scene(split, index, seed)
        scenes.setdefault(tuple(sorted(scene.objects)), scene)
        index += 1
    return tuple(scenes.values())
