"""Write the figures of an evaluation to files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeglass_diag.evaluation.embeddings import Embeddings, numpy_sample
from edgeglass_diag.figures.style import PAPER, TEMPLATES
from edgeglass_diag.figures.writing import check_format, write_figures
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, is_folder


@dataclass(frozen=True)
class PictureFiles:
    """The folder that figures are written to, their format and theme.

    Raises:
        UsageError: when constructed, if such files cannot be written.
    """

    folder: Path
    form: str = "html"
    theme: str = "light"

    def __post_init__(self) -> None:
        if self.theme not in TEMPLATES:
            raise UsageError(f"--theme: expected {' or '.join(TEMPLATES)}, got {self.theme!r}")
        if exists(self.folder) and not is_folder(self.folder):
            raise UsageError(f"--figures {self.folder}: expected a folder, got a file")
        try:
            check_format(self.form)
        except ValueError as error:
            raise UsageError(str(error)) from error


def write_pictures(result: dict[str, Any], embeddings: Embeddings, wanted: PictureFiles) -> list[Path]:
    """Write the pictures of an evaluation.

    Raises:
        UsageError: if they cannot be written.
    """
    from edgeglass_diag.evaluation.pictures import pictures

    figures = pictures(result, numpy_sample(embeddings), {wanted.theme: TEMPLATES[wanted.theme]})[wanted.theme]
    for figure in figures.values():
        figure.update_layout(paper_bgcolor=PAPER[wanted.theme])
    try:
        return write_figures(figures, wanted.folder, wanted.form)
    except ValueError as error:
        raise UsageError(str(error)) from error
