"""Scenes: rendered images of one to four coloured shapes, with captions that distinguish them.

A scene is determined by (split, index, seed), in every process. Its split is a hash of its objects; background, jitter
and noise do not count, so no test scene has the objects of a training scene.
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
