"""What ``run.json`` may hold: each fact that this package reads of it, with its type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from edgeglass_diag.records import RunStatus, UsageError
from edgeglass_diag.user_input.files import read_text
from edgeglass_diag.user_input.json_text import parse_json

MAX_BYTES = 16 * 2**20
"""Largest ``run.json`` that is read; ours has some 60 KiB, and up to 2 MiB of settings were seen."""

_MOST_LEFT_OUT = 100
_OPTIONAL = ("command", "settings", "result", "git", "environment")
"""What a run can be read without."""

_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Text = Annotated[str, Field(max_length=4096)]
_Recalls = dict[str, float | None]


class _Open(BaseModel):
    """Facts of which others may be there as well."""

    model_config = ConfigDict(extra="allow")


class _Bounds(BaseModel):
    low: float | None = None
    high: float | None = None


class _Rule(BaseModel):
    code: _Text
    name: _Text
    title: _Text
    thresholds: dict[str, float] = {}
    page: _Text = "overview"
    signals: list[_Text] = []
    bounds: dict[str, _Bounds] = {}


class _Process(BaseModel):
    host: _Text
    boot: _Text
    namespace: _Text
    pid: _Count
    started: FiniteFloat


class _Cut(BaseModel):
    step: _Count
    time: FiniteFloat
    ended: bool = False
    command: list[str] = []


class _Result(_Open):
    error: str | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    i2t: _Recalls | None = None
    t2i: _Recalls | None = None
    chance: dict[str, float | _Recalls | None] | None = None
    n: _Count | None = None
    n_texts: _Count | None = None
    exit_status: int | None = None


class RunHeader(_Open):
    """The content of ``run.json``."""

    name: _Text
    created: FiniteFloat = 0.0
    pid: _Count
    status: RunStatus
    ended: FiniteFloat | None = None
    rank: _Count | None = None
    world_size: _Count | None = None
    process: _Process | None = None
    environment: dict[str, Any] = {}
    git: dict[str, Any] = {}
    command: list[str] = []
    settings: dict[str, Any] | None = None
    result: _Result = _Result()
    rules: list[_Rule] | None = None
    store_crc32: _Count | None = None
    resumed: list[_Cut] = []


def parse_header(file: Path, *, format_: str, readable: tuple[int, ...]) -> dict[str, Any]:
    """Return the content of ``run.json``, each known fact of the type that it must have.

    Args:
        file: of the run.
        format_: what ``format`` must be.
        readable: versions that can be read.

    Raises:
        UsageError: if it cannot be read, is not of this format and version, or a fact has another type.
    """
    try:
        header = parse_json(read_text(file, most=MAX_BYTES), file)
    except UsageError as error:
        raise UsageError(f"not a run: {file} cannot be read as JSON ({error})") from error
    if not isinstance(header, dict) or header.get("format") != format_:
        raise UsageError(f"not a run: {file} is not of the format {format_!r}")
    version = header.get("version")
    if not isinstance(version, int) or version not in readable:
        versions = ", ".join(map(str, readable))
        said = repr(version)[:40]
        raise UsageError(f"{file} has version {said}; this edgeglass-diag reads versions {versions}")
    for _ in range(_MOST_LEFT_OUT):
        try:
            return RunHeader.model_validate(header).model_dump(exclude_unset=True)
        except (ValidationError, RecursionError) as error:
            if not isinstance(error, ValidationError) or not _leave_out(header, error):
                raise UsageError(f"not a run: {file}: {_said(error)}") from error
    raise UsageError(f"not a run: {file}: more than {_MOST_LEFT_OUT} facts are of another type")


def _leave_out(header: dict[str, Any], error: ValidationError) -> bool:
    """Remove a fact of another type that a program may have set itself; return whether there was one."""
    place = error.errors(include_url=False)[0]["loc"]
    if place[0] == "result" and len(place) > 1 and isinstance(header["result"], dict):
        del header["result"][place[1]]
        return True
    if place[0] in _OPTIONAL:
        del header[str(place[0])]
        return True
    return False


def _said(error: Exception) -> str:
    """Return the first fault, in one line: where, what was expected, what came."""
    if not isinstance(error, ValidationError):
        return "it is nested too deeply"
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}, got {str(first['input'])[:60]!r}"
