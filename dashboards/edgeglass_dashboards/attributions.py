"""What a run's similarities rest on, as ``edgeglass-diag attribute`` keeps it in a folder of the run."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgeglass_diag.records import UsageError
from edgeglass_diag.store import Run
from edgeglass_diag.user_input.files import is_file, parsing, read_bytes, read_text
from edgeglass_diag.user_input.json_text import parse_json

FOLDER, FILE = "attribution", "attribution.json"
MOST_PAIRS = 16
"""Pairs on the page; each has a picture of some 50 kB."""
_MAX_BYTES, _MAX_PICTURE = 64 * 2**20, 2**20
_PNG = b"\x89PNG\r\n\x1a\n"


class _Bounds(BaseModel):
    information: tuple[float, float]


class _Entry(BaseModel):
    information: float
    score: float
    recall: float = Field(alias="R@1")
    share: float | None
    ci95: _Bounds


class _View(BaseModel):
    side: Literal["image", "text"]
    grid: tuple[int, int] | None
    integrated_gradients: list[float]
    ablation: list[float]

    @model_validator(mode="after")
    def _covers_its_grid(self) -> Self:
        if self.grid is not None and not 0 < self.grid[0] * self.grid[1] <= len(self.integrated_gradients):
            raise ValueError("fewer values than places in the picture")
        return self


class _Pair(BaseModel):
    caption: str
    similarity: float
    words: list[str]
    views: dict[str, _View]


class _Information(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Entry]

    n: int
    informed: bool
    pairs: _Entry


class _Kept(BaseModel):
    split: str
    steps: int
    information: _Information
    largest_error: float
    pairs: list[_Pair]


@dataclass(frozen=True, slots=True)
class Attributed:
    """What is kept, as the command prints it, and a picture of each pair; ``problem`` says why it cannot be shown."""

    result: dict[str, Any] | None = None
    pictures: list[str] = field(default_factory=list)
    problem: str = ""


def state_of_attribution(run: Run, root: Path) -> tuple[int, int]:
    """Return what changes when the attribution is written anew; zeros where there is none."""
    file = run.folder / FOLDER / FILE
    if not is_file(file) or not file.resolve().is_relative_to(root.resolve()):
        return 0, 0
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def attribution_of(run: Run, root: Path) -> Attributed:
    """Return what is kept of a run below ``root``; nothing is read elsewhere."""
    if state_of_attribution(run, root) == (0, 0):
        return Attributed()
    file = run.folder / FOLDER / FILE
    try:
        content = parse_json(read_text(file, most=_MAX_BYTES), file)
        with parsing(file, "an attribution"):
            kept = _Kept.model_validate(content)
    except UsageError as error:
        return Attributed(problem=str(error).replace(f"{root}/", ""))
    pictures = [_picture(file.parent / f"pair-{row}.png", root) for row in range(min(MOST_PAIRS, len(kept.pairs)))]
    # Of the model, not of the file: NaN and infinities, which JSON has by name, are numbers there.
    return Attributed(kept.model_dump(by_alias=True), pictures)


def _picture(file: Path, root: Path) -> str:
    """A PNG as an address that holds it; empty where there is none below ``root``."""
    if not is_file(file) or not file.resolve().is_relative_to(root.resolve()):
        return ""
    try:
        content = read_bytes(file, most=_MAX_PICTURE)
    except UsageError:
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(_PNG) else ""
