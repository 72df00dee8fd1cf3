"""What an explanation has shown of a run's findings, kept beside the run in a file of its own. No torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from edgeglass_diag.errors import UsageError
from edgeglass_diag.user_input.files import exists, read_text

EXPLAINED = "explained.json"
"""The file in the folder of an explained run."""

_MAX_BYTES = 4 * 2**20


class Mark(StrEnum):
    """What replays have shown of a finding."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class FindingMark:
    """What replays have shown of one finding.

    Attributes:
        code: of the finding.
        site: of the finding, the first where it has several.
        mark: whether it is the cause.
        by: the change that says so, with its count, such as ``learning rate x 0.1 cures (3/3)``.
    """

    code: str
    site: str
    mark: Mark
    by: str = ""


Marks = Mapping[tuple[str, str], FindingMark]
"""By code and site of the finding."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What is kept beside a run of its newest explanation.

    Attributes:
        folder: of the explanation, None where the run has none.
        marks: of the run's findings.
        fault: why the file cannot be read, empty where it can or there is none.
    """

    folder: Path | None = None
    marks: Marks = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of the file; ``explanation`` is a path from the run's folder, so that both can move together."""

    explanation: str
    marks: tuple[FindingMark, ...]


def write_marks(run_folder: Path, marks: Iterable[FindingMark], explanation: str) -> None:
    """Keep the marks of a run's findings beside it, in place of those of an earlier explanation.

    Args:
        run_folder: of the explained run.
        marks: one for each headline finding.
        explanation: folder of the explanation.

    Raises:
        UsageError: if the file cannot be written; what was there before is whole then.
    """
    file = run_folder / EXPLAINED
    content = _Content(os.path.relpath(Path(explanation).resolve(), run_folder.resolve()), tuple(marks))
    temporary = run_folder / f"{EXPLAINED}.{os.getpid()}.tmp"
    try:
        temporary.write_text(json.dumps(asdict(content), indent=1), encoding="utf-8")
        os.replace(temporary, file)
    except OSError as error:
        raise UsageError(f"cannot mark the findings of {run_folder}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_marks(run_folder: Path) -> Marks:
    """Return the marks of a run's findings by code and site; none where it was not explained."""
    return read_explained(run_folder).marks


def read_explained(run_folder: Path) -> Explained:
    """Return what is kept of a run's newest explanation; a file that cannot be read leaves the findings unmarked."""
    file = run_folder / EXPLAINED
    if not exists(file):
        return Explained()
    try:
        content = _parse(file)
    except UsageError as error:
        return Explained(fault=f"the findings are shown without the marks of their explanation: {error}")
    folder = Path(os.path.normpath(run_folder.resolve() / content.explanation))
    return Explained(folder, {(each.code, each.site): each for each in content.marks})


def _parse(file: Path) -> _Content:
    """Return the content of the file; raise UsageError if it is no JSON or a fact has another type."""
    from pydantic import TypeAdapter  # not needed where nothing was explained

    from edgeglass_diag.user_input.files import parsing
    from edgeglass_diag.user_input.json_text import parse_json

    content = parse_json(read_text(file, most=_MAX_BYTES), file)
    with parsing(file, "the marks of an explanation"):
        return TypeAdapter(_Content).validate_python(content)
