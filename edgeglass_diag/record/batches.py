"""Observes what the outermost modules are called with: the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgeglass_diag import site_paths
from edgeglass_diag.measures.activations import subset
from edgeglass_diag.measures.batches import cut_texts, fingerprint, padding, repeated, row_fingerprints
from edgeglass_diag.record.session import Session
from edgeglass_diag.record.shards import is_measurable
from edgeglass_diag.signals.batches import (
    DATA_CUT_TEXTS,
    DATA_FINGERPRINT,
    DATA_LAYER_ABSMAX,
    DATA_MAX,
    DATA_MEAN,
    DATA_MIN,
    DATA_PADDING,
    DATA_REPEATED,
    DATA_SAMPLES,
    DATA_STD,
    DATA_UNPADDED_TEXTS,
)
from edgeglass_diag.sites import BatchSite, Kind


def observe_batch(session: Session, site: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Write ``data/*`` for each tensor that a model is called with in training.

    Args:
        session: state of the watch.
        site: path of the model.
        arguments: as called; the site of the first is ``input0``.
        keywords: as called; their names are the names of the sites.
    """
    for name, value in [*((f"input{i}", v) for i, v in enumerate(arguments)), *keywords.items()]:
        if (
            isinstance(value, Tensor)
            and value.dim() > 1
            and len(value) > 1
            and is_measurable(value)
            and not value.requires_grad
        ):
            path = site_paths.child(site, name)
            with session.measuring(path, Kind.BATCH, value):
                session.sites.register_site(
                    BatchSite(path=path, module=site, argument=name, shape=tuple(value.shape[1:]), dtype=_dtype(value))
                )
                _measure(session, path, value.detach())


def observe_image_layer(session: Session, site: str, module: nn.Module, given: Sequence[Tensor]) -> None:
    """Write ``data/layer_absmax``, the largest magnitude of images (1 or 3 channels) that a layer is given.

    A model may normalise its pixels itself: what it is called with does not tell what its first layer sees.
    """
    weight = module._parameters.get("weight")
    if weight is None or weight.dim() < 2 or not given or given[0].dim() != 4:
        return
    image = given[0]
    if image.is_floating_point() and is_measurable(image) and not {image.shape[1], image.shape[3]}.isdisjoint((1, 3)):
        with session.measuring(site, Kind.BATCH, image):
            low, high = torch.aminmax(image.detach())
            session.buffer.add(site, DATA_LAYER_ABSMAX, torch.maximum(-low, high))


def _measure(session: Session, path: str, value: Tensor) -> None:
    add = session.buffer.add
    rows = row_fingerprints(value)
    add(path, DATA_SAMPLES, float(len(value)))
    session.batch[path] = fingerprint(rows)
    add(path, DATA_FINGERPRINT, session.batch[path])
    add(path, DATA_REPEATED, repeated(rows))
    if value.is_floating_point():
        low, high = torch.aminmax(value)
        deviation, mean = torch.std_mean(subset(value).float(), correction=0)
        for signal, number in ((DATA_MEAN, mean), (DATA_STD, deviation), (DATA_MIN, low), (DATA_MAX, high)):
            add(path, signal, number)
    elif value.dim() == 2 and not (value.dtype == torch.bool or value.is_complex() or "mask" in path.lower()):
        padded, full = padding(value)
        add(path, DATA_PADDING, padded)
        add(path, DATA_UNPADDED_TEXTS, full)
        add(path, DATA_CUT_TEXTS, cut_texts(value))


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
