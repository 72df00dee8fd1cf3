"""The baseline: a file of the findings that are known, so that only what is new fails."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from errno import EISDIR
from os import strerror
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeglass_diag.gate.results import Result
from edgeglass_diag.records import Severity, UsageError
from edgeglass_diag.user_input.files import exists, read_text
from edgeglass_diag.user_input.json_text import parse_json
from edgeglass_diag.user_input.limits import MIB

FORMAT = "edgeglass-diag findings baseline"
VERSION = 1
MAX_BYTES = 16 * MIB
"""Largest baseline that is read: an entry has some 150 bytes, and this are 100,000 of them."""


class Known(BaseModel):
    """A finding of a baseline: its fingerprint, and for readers what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    code: str
    site: str
    severity: Literal["info", "warning", "critical"]
    fingerprint: str


def is_baseline(file: Path) -> bool:
    """Return whether a file that exists calls itself a baseline, of whatever version."""
    try:
        content = parse_json(read_text(file, most=MAX_BYTES), file)
    except UsageError:
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format: str
    version: int
    command: str
    findings: list[Known]


@dataclass(frozen=True)
class Comparison:
    """Findings of now beside those of a baseline.

    Attributes:
        new: not in the baseline.
        worse: in it with a lower severity.
        gone: of the baseline, and no longer there.
    """

    new: tuple[Result, ...]
    worse: tuple[Result, ...]
    gone: tuple[Known, ...]


def read_baseline(file: Path) -> list[Known]:
    """Return the findings of a baseline.

    Raises:
        UsageError: if it is missing, no baseline of findings, or of another version.
    """
    if not exists(file):
        raise UsageError(f"--baseline: no such file: {file}; --update-baseline writes it")
    try:
        content = parse_json(read_text(file, most=MAX_BYTES), file)
    except UsageError as error:
        raise UsageError(f"--baseline: expected a baseline of findings, got what cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"--baseline {file}: expected {FORMAT!r} in 'format'; --update-baseline writes such a file")
    if content.get("version") != VERSION:
        said = repr(content.get("version"))[:40]
        raise UsageError(
            f"--baseline {file}: expected version {VERSION}, got {said}; write it anew with --update-baseline"
        )
    try:
        return _File.model_validate(content).findings
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"--baseline {file}: {place}: {first['msg']}, got {str(first['input'])[:60]!r}") from None


def write_baseline(file: Path, found: Iterable[Result], command: str) -> None:
    """Write a baseline of what was found now, sorted, so that its differences can be read; replaced as a whole.

    Raises:
        UsageError: if it cannot be written.
    """
    check_update(file)
    entries = {(r.code, r.site, r.fingerprint): Known(**_entry(r)) for r in found}
    content = _File(format=FORMAT, version=VERSION, command=command, findings=[entries[key] for key in sorted(entries)])
    text = json.dumps(content.model_dump(), indent=1, ensure_ascii=False)
    write_text(file, text + "\n", "--baseline")


def check_update(file: Path) -> None:
    """Raise UsageError if a baseline cannot be written here, or if another file would be lost."""
    if exists(file) and not is_baseline(file):
        raise UsageError(f"--update-baseline: {file} is there and no baseline of findings; it is left as it is")
    check_writable(file, "--baseline")


def compare(found: Sequence[Result], known: Iterable[Known]) -> Comparison:
    """Return what is new, what is worse than it was, and what is gone."""
    before = {entry.fingerprint: entry for entry in sorted(known, key=_rank)}  # of several the most severe
    now = {each.fingerprint for each in found}
    worse = [each for each in found if each.fingerprint in before and _rank(each) > _rank(before[each.fingerprint])]
    return Comparison(
        tuple(each for each in found if each.fingerprint not in before),
        tuple(worse),
        tuple(entry for fingerprint, entry in before.items() if fingerprint not in now),
    )


def write_text(file: Path, text: str, option: str) -> None:
    """Write a file of an option as a whole, and make its folder.

    Raises:
        UsageError: if it cannot be written.
    """
    with _writing(file, option) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)


def check_writable(file: Path, option: str) -> None:
    """Raise UsageError if ``write_text`` could not write a file, before a training is run for it; make its folder."""
    with _writing(file, option) as temporary:
        if file.is_dir():
            raise IsADirectoryError(EISDIR, strerror(EISDIR))
        temporary.touch()
        temporary.unlink()


@contextmanager
def _writing(file: Path, option: str) -> Iterator[Path]:
    """Give the file to write before it replaces the other, in a folder that is there; an OSError is a UsageError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield file.with_name(file.name + ".tmp")
    except OSError as error:
        raise UsageError(f"{option} {file}: cannot be written ({error.strerror or error})") from None


def _entry(found: Result) -> dict[str, Any]:
    return {name: value for name, value in asdict(found).items() if name in Known.model_fields}


def _rank(entry: Result | Known) -> int:
    return Severity(entry.severity).rank
