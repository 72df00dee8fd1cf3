"""Captions of scenes.

    caption    := [opening] part (", " part)* [" and " part] [" on a " background " background"]
    part       := object " " place | object " " relation " " object
    object     := "a " size " " colour " " shape

Words have synonyms. Openings and backgrounds occur with at most three objects, so that a caption has at most about
40 tokens of CLIP's byte-pair encoding.
"""

import random

from edgeglass_models.data.scenes.content import Scene, SceneObject, stable_seed

_SHAPES = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross", "plus"),
    "ring": ("ring", "hoop"),
    "diamond": ("diamond",),
    "heart": ("heart",),
}
_COLOURS = {"cyan": ("cyan", "turquoise"), "purple": ("purple", "violet")}
_SIZES = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
_BACKGROUNDS = {"grey": ("grey", "gray"), "black": ("black", "dark")}
_ROWS = (("top", "upper"), ("middle", "center"), ("bottom", "lower"))
_COLUMNS = ("left", "middle", "right")
_OPENINGS = ("", "", "a picture of", "there is", "we see")
_SIMPLE_OPENING_OBJECTS = 3


def caption(scene: Scene, seed: int = 0) -> str:
    """Return a description of the scene, such as "a small red circle left of a big blue square".

    Every object has size, colour and shape, and its place or its relation to another object. Order, synonyms and
    omissions are drawn from a seed of the scene and `seed`.
    """
    rng = random.Random(stable_seed("caption", scene, seed))
    rest = rng.sample(scene.objects, len(scene.objects))
    parts = []
    while rest:
        item = rest.pop()
        if rest and rng.random() < 0.4:
            other = rest.pop()
            parts.append(f"{_object(item, rng)} {_relation(item, other, rng)} {_object(other, rng)}")
        else:
            parts.append(f"{_object(item, rng)} {_place(item, rng)}")
    text = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    if len(scene.objects) > _SIMPLE_OPENING_OBJECTS:
        return text
    if rng.random() < 0.5:
        text += f" on a {rng.choice(_BACKGROUNDS.get(scene.background, (scene.background,)))} background"
    return f"{rng.choice(_OPENINGS)} {text}".strip()


def _object(item: SceneObject, rng: random.Random) -> str:
    colour = rng.choice(_COLOURS.get(item.colour, (item.colour,)))
    return f"a {rng.choice(_SIZES[item.size])} {colour} {rng.choice(_SHAPES[item.shape])}"


def _place(item: SceneObject, rng: random.Random) -> str:
    row, column = item.place
    if (row, column) == (1, 1):
        return rng.choice(("in the middle", "in the center"))
    if row == 1:
        return f"on the {_COLUMNS[column]}"
    if column == 1:
        return f"at the {_ROWS[row][0]}"
    return f"in the {rng.choice(_ROWS[row])} {_COLUMNS[column]}"


def _relation(item: SceneObject, other: SceneObject, rng: random.Random) -> str:
    down, right = (a - b for a, b in zip(item.place, other.place, strict=True))
    words = []
    if down:
        words += ["above", "over"] if down < 0 else ["below", "under"]
    if right:
        words += ["left of", "to the left of"] if right < 0 else ["right of", "to the right of"]
    return rng.choice(words)
