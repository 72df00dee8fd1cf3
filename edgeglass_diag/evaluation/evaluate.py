"""Evaluate a run, a checkpoint or embeddings: retrieval both ways, by MRL prefix, and geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from edgeglass_diag.evaluation.embeddings import Embeddings, make_embeddings
from edgeglass_diag.evaluation.report import report
from edgeglass_diag.evaluation.sources import holds_embeddings, read_embeddings
from edgeglass_diag.plain_values import plain
from edgeglass_diag.provider_protocols import provider
from edgeglass_diag.records import UsageError
from edgeglass_diag.shown import Shown
from edgeglass_diag.user_input.files import is_file

if TYPE_CHECKING:
    from edgeglass_diag.notebooks.document import Document


@dataclass(frozen=True)
class EvaluationReport(Shown):
    """Recalls are fractions; ``R@K``, ``median_rank`` and ``MRR`` by name.

    Attributes:
        values: everything, as ``eval --json`` prints it.
        embeddings: what was evaluated.
    """

    values: Mapping[str, object]
    embeddings: Embeddings

    @property
    def i2t(self) -> dict[str, float]:
        """Return recalls, median rank and MRR of images that look for their captions, at full width."""
        return _numbers(self.values["i2t"])

    @property
    def t2i(self) -> dict[str, float]:
        """Return recalls, median rank and MRR of captions that look for their image, at full width."""
        return _numbers(self.values["t2i"])

    @property
    def chance(self) -> dict[str, float]:
        """Return the recalls of random ranks, K / number of images."""
        return _numbers(self.values["chance"])

    @property
    def mrl(self) -> dict[int, dict[str, dict[str, float]]]:
        """Return ``i2t`` and ``t2i`` by prefix width, the widest first."""
        rows = self.values["mrl"]
        assert isinstance(rows, dict)
        return {int(width): {way: _numbers(row[way]) for way in ("i2t", "t2i")} for width, row in rows.items()}

    def as_dict(self) -> dict[str, object]:
        """Return what ``eval --json`` prints."""
        values: dict[str, object] = plain(dict(self.values))
        return values

    def _document(self) -> Document:
        from edgeglass_diag.notebooks.of_evaluation import evaluation_document

        return evaluation_document(self)


def _numbers(values: object) -> dict[str, float]:
    assert isinstance(values, dict)
    return {str(key): float(value) for key, value in values.items() if isinstance(value, float | int)}


def evaluate(
    source: str | Path | Embeddings,
    *,
    split: str | None = None,
    data: Path | None = None,
    settings: Sequence[str] = (),
    dims: Sequence[int] = (),
    with_curve: bool = True,
    device: str | None = None,
) -> EvaluationReport:
    """Evaluate retrieval and geometry of image and text embeddings.

    Args:
        source: run folder, checkpoint, file of embeddings (npy, npz, safetensors, parquet), or the embeddings.
        split: of a run or checkpoint; if None ``test``, or with ``data`` all.
        data: other pictures and captions for a run or checkpoint, in any form that recipes read.
        settings: ``data.key=value`` of a run or checkpoint.
        dims: prefix widths; the model's own, or halvings down to 32, if empty.
        with_curve: also the MRL curve with its controls.
        device: a torch device; CUDA if None and there is one.

    Raises:
        UsageError: if there is nothing to evaluate at ``source``, or it does not fit the options.

    Example:
        >>> from edgeglass_diag.evaluation.embeddings import make_embeddings
        >>> same = torch.eye(4)
        >>> report = evaluate(make_embeddings(same, same), with_curve=False)
        >>> report.i2t["R@1"], report.chance["R@1"]
        (1.0, 0.25)
    """
    try:
        if isinstance(source, Embeddings):
            embeddings, of_what = source, dict[str, str]()
        else:
            embeddings, of_what = _embeddings(Path(source), split, data, settings)
        values = {**of_what, **report(embeddings.to(_device(device)), dims, with_curve=with_curve)}
    except ValueError as error:
        raise UsageError(str(error)) from error
    return EvaluationReport(values, embeddings)


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        computed = torch.ones(1, device=name)
        (computed + 1).item()  # "meta" is a device that computes nothing
    except Exception as error:  # torch asserts that it was built with CUDA; other back ends are imported
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(f"--device {name}: expected a device that computes, got: {first}") from error
    return computed.device


def _embeddings(
    path: Path, split: str | None, data: Path | None, settings: Sequence[str]
) -> tuple[Embeddings, dict[str, str]]:
    if is_file(path) and holds_embeddings(path):
        for option, given in (("--split", split), ("--data", data), ("--set", " ".join(settings) or None)):
            if given is not None:
                raise UsageError(f"{option} {given}: is for runs and checkpoints; {path} holds embeddings")
        return read_embeddings(path), {}
    split = split or ("test" if data is None else "all")
    found = provider().embed(path, split, data=data, overrides=settings)
    embeddings = make_embeddings(found.image, found.text, found.image_index, tuple(found.dims))
    return embeddings, {"split": split, **({} if data is None else {"data": str(data)})}
