"""COCO caption annotations: a JSON file with a list of images, and a list of captions with image ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeglass_diag.errors import UsageError
from edgeglass_diag.user_input.files import is_file, read_text
from edgeglass_diag.user_input.json_text import parse_json
from edgeglass_diag.user_input.limits import ANNOTATIONS_BYTES
from edgeglass_models.data.rows import Fault, Row, Rows


def coco_rows(path: Path, images: Path | None = None) -> Rows:
    """Yield one row for each image with all its captions, in the order of ``images`` in the file.

    Args:
        path: for example annotations/captions_val2017.json.
        images: folder of the images; if None it is searched where COCO's archives unpack.

    Raises:
        ValueError: if the file is not of that form, or the folder of the images is not found.
    """
    listed, annotations = _content(path)
    captions: dict[Any, list[object]] = {entry["id"]: [] for entry in listed}
    for number, annotation in enumerate(annotations, start=1):
        owner = annotation.get("image_id")
        if isinstance(owner, int | str) and owner in captions:
            captions[owner].append(annotation.get("caption"))
        else:
            yield Fault("caption of an image that is not listed", f"{path} annotation {number}", f"image_id {owner!r}")
    folder = images or _folder(path, listed[0]["file_name"])
    for entry in listed:
        place = f"{path} image {entry['id']}"
        if captions[entry["id"]]:
            yield Row(place, folder / entry["file_name"], tuple(captions[entry["id"]]))
        else:
            yield Fault("image without a caption", place)


def _content(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    try:
        content = parse_json(read_text(path, most=ANNOTATIONS_BYTES), path)
    except UsageError as error:
        raise ValueError(f"{path}: expected COCO captions in JSON; got {error}") from error
    lists: list[Any] = [content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations")]
    for key, entries in zip(("images", "annotations"), lists, strict=True):
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path}: expected COCO captions, an object with images and annotations; got no {key}")
    seen: set[int | str] = set()
    for number, entry in enumerate(lists[0], start=1):
        for key, kind in (("id", int | str), ("file_name", str)):
            if key not in entry:
                raise ValueError(f"{path}: expected {key} in each of images; number {number} has none")
            if not isinstance(entry[key], kind):
                raise ValueError(f"{path}: {key} of image number {number} is a {type(entry[key]).__name__}")
        if entry["id"] in seen:
            raise ValueError(
                f"{path}: expected each id of images once; image number {number} has {entry['id']!r} again"
            )
        seen.add(entry["id"])
    return lists[0], lists[1]


def _folder(path: Path, example: str) -> Path:
    """Return the folder of the images, such as train2017/ next to annotations/, or below images/."""
    year = path.stem.removeprefix("captions_")
    places = [
        path.parent,
        *(root / name for root in (path.parent, path.parent.parent) for name in ("images", year, f"images/{year}")),
    ]
    for place in places:
        if is_file(place / example):
            return place
    raise ValueError(
        f"{path}: expected {example} in one of {', '.join(map(str, places))}; it is in none: set data.images"
    )
