"""Scenes: rendered pictures of one to four coloured shapes, with captions that tell them apart.

Everything follows from (split, index, seed) alone, in every process. A scene belongs to the split that the hash of
its objects says; background, jitter and noise do not count, so no test scene is a train scene in other clothes.
"""

from edgeglass_models.data.scenes.captions import caption
from edgeglass_models.data.scenes.content import Scene, SceneObject, Split, sample_look_alike, sample_scene, split_of
from edgeglass_models.data.scenes.drawing import boxes, draw
from edgeglass_models.data.scenes.pairs import ScenePairs

__all__ = [
    "Scene",
    "SceneObject",
    "ScenePairs",
    "Split",
    "boxes",
    "caption",
    "draw",
    "sample_look_alike",
    "sample_scene",
    "split_of",
]
