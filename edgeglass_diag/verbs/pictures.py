"""The files that ``eval --figures`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgeglass_diag.evaluation.embeddings import Embeddings
from edgeglass_diag.evaluation.pairs import PairSample, sample_pairs
from edgeglass_diag.figures.style import PAPER, TEMPLATES
from edgeglass_diag.figures.writing import check_format, write_figures
from edgeglass_diag.records import UsageError


@dataclass(frozen=True)
class Pictures:
    """Where figures go and how they look.

    Raises:
        UsageError: at once, before anything is computed, for what cannot be written.
    """

    folder: Path
    form: str = "html"
    theme: str = "light"

    def __post_init__(self) -> None:
        if self.theme not in TEMPLATES:
            raise UsageError(f"--theme: expected {' or '.join(TEMPLATES)}, got {self.theme!r}")
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--figures {self.folder}: expected a folder, got a file")
        try:
            check_format(self.form)
        except ValueError as error:
            raise UsageError(str(error)) from error


def draw(result: dict[str, Any], embeddings: Embeddings, wanted: Pictures) -> list[Path]:
    """Write the pictures of an evaluation.

    Raises:
        UsageError: when they cannot be written.
    """
    from edgeglass_diag.evaluation.pictures import pictures

    figures = pictures(result, numpy_sample(embeddings), {wanted.theme: TEMPLATES[wanted.theme]})[wanted.theme]
    for figure in figures.values():
        figure.update_layout(paper_bgcolor=PAPER[wanted.theme])
    try:
        return write_figures(figures, wanted.folder, wanted.form)
    except ValueError as error:
        raise UsageError(str(error)) from error


def numpy_sample(embeddings: Embeddings) -> PairSample:
    """A sample of pairs for pictures."""
    sides = (embeddings.image, embeddings.text)
    image, text = (s.cpu().to(torch.promote_types(s.dtype, torch.float32)).numpy() for s in sides)  # numpy has no bf16
    return sample_pairs(image, text, embeddings.image_of_text.cpu().numpy())
