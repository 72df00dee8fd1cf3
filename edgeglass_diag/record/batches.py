"""Observes what models are called with, and the pixels that image layers are given."""

from __future__ import annotations

import weakref
from collections import Counter

import torch
from torch import Tensor

from edgeglass_diag import site_paths
from edgeglass_diag.measures.activations import subset
from edgeglass_diag.measures.batches import copy_floor, cut_texts, fingerprint, padding, repeated, row_fingerprints
from edgeglass_diag.measures.padding_masks import mask_fit
from edgeglass_diag.measures.pictures import shared_energy
from edgeglass_diag.record.module_tree import own_parameters
from edgeglass_diag.record.nested import named_tensors
from edgeglass_diag.record.observer import ModuleCall, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.shards import is_foreign, is_measurable
from edgeglass_diag.signals.batches import (
    DATA_COPY_FLOOR,
    DATA_CUT_TEXTS,
    DATA_FINGERPRINT,
    DATA_LAYER_ABSMAX,
    DATA_MASK_BORROWED,
    DATA_MASK_HIDDEN,
    DATA_MASK_MISFIT,
    DATA_MAX,
    DATA_MEAN,
    DATA_MIN,
    DATA_PADDING,
    DATA_REPEATED,
    DATA_SAME_TENSOR,
    DATA_SAMPLES,
    DATA_SHARED_FAR,
    DATA_SHARED_NEAR,
    DATA_STD,
    DATA_UNPADDED_TEXTS,
)
from edgeglass_diag.sites import BatchSite, Coverage, Kind

_MOST_INPUTS = 64
"""Tensors that a model is called with that are looked at."""
_OFTEN = 8
"""Batches of pictures of which each is looked at for noise; one in as many of those that follow."""

_MASK_FACTS = {"misfit": DATA_MASK_MISFIT, "hidden": DATA_MASK_HIDDEN, "borrowed": DATA_MASK_BORROWED}


class BatchObserver(Observer):
    """Writes ``data/*`` for each tensor that a model is called with in training.

    The site of an argument without a name is ``input0`` and so on, that of a tensor in a container ``batch.pixels``. A
    model may normalise its pixels itself, so that what it is called with does not tell what its first layer is given:
    ``data/layer_absmax`` is the largest magnitude of images (1 or 3 channels) that a layer is given.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._fingerprints: dict[str, Tensor] = {}
        self._rows: list[Tensor] = []
        self._pictures: Counter[str] = Counter()
        self._before: dict[str, weakref.ref[Tensor]] = {}

    def take_fingerprints(self) -> dict[str, Tensor]:
        """Return what models were called with since this was last asked for: a fingerprint by site."""
        taken, self._fingerprints = self._fingerprints, {}
        return taken

    def take_rows(self) -> list[Tensor]:
        """Return the fingerprints of the rows of each input since this was last asked for, (B,) each."""
        taken, self._rows = self._rows, []
        return taken

    def module_ends(self, call: ModuleCall) -> None:
        """Measure the inputs of a model, and the image that a layer is given."""
        if call.is_outermost and call.frame.is_model:
            given = given_to(call)
            self._compare_masks(call.frame.path, [(name, value) for name, value in given if _is_batch(value)])
            for name, value in given:
                if is_foreign(value):
                    path = site_paths.child(call.frame.path, name)
                    site = BatchSite(path=path, module=call.frame.path, argument=name)
                    self._recording.sites.cannot_observe(site, Coverage.FOREIGN_TENSOR)
                elif _is_batch(value):
                    self._measure(call.frame.path, name, value)
        self._measure_image(call)

    def forget(self) -> None:
        """Forget the batches of the window."""
        self._fingerprints.clear()
        self._rows.clear()

    def _measure(self, module: str, name: str, value: Tensor) -> None:
        path = site_paths.child(module, name)
        with self._recording.measuring(path, Kind.BATCH):
            dtype = str(value.dtype).removeprefix("torch.")
            site = BatchSite(path=path, module=module, argument=name, shape=tuple(value.shape[1:]), dtype=dtype)
            self._recording.sites.register_site(site)
            before = self._before.get(path)
            self._recording.buffer.add(path, DATA_SAME_TENSOR, float(before is not None and before() is value))
            self._before[path] = weakref.ref(value)
            value = value.detach()
            rows = row_fingerprints(value)
            self._rows.append(rows)
            add = self._recording.buffer.add
            add(path, DATA_SAMPLES, float(len(value)))
            self._fingerprints[path] = fingerprint(rows)
            add(path, DATA_FINGERPRINT, self._fingerprints[path])
            add(path, DATA_REPEATED, repeated(rows))
            add(path, DATA_COPY_FLOOR, copy_floor(rows))
            if site.is_picture:
                self._measure_picture(path, value)
            self._measure_values(path, name, value)

    def _compare_masks(self, module: str, batch: list[tuple[str, Tensor]]) -> None:
        tokens = [value for name, value in batch if _may_be_tokens(name, value)]
        for name, mask in batch:
            texts = [value for value in tokens if value.shape == mask.shape]
            if mask.dim() == 2 and len(texts) == 1 and "mask" in name.lower():
                path = site_paths.child(module, name)
                with self._recording.measuring(path, Kind.BATCH):
                    for name_of_fact, value in mask_fit(mask.detach(), texts[0].detach())._asdict().items():
                        self._recording.buffer.add(path, _MASK_FACTS[name_of_fact], value)

    def _measure_picture(self, path: str, value: Tensor) -> None:
        done = self._pictures[path]
        self._pictures[path] += 1
        if (done < _OFTEN or done % _OFTEN == 0) and not (value.dtype == torch.bool or value.is_complex()):
            shared = shared_energy(value)
            self._recording.buffer.add(path, DATA_SHARED_NEAR, shared.near)
            self._recording.buffer.add(path, DATA_SHARED_FAR, shared.far)

    def _measure_values(self, path: str, argument: str, value: Tensor) -> None:
        add = self._recording.buffer.add
        if value.is_floating_point():
            low, high = torch.aminmax(value)
            deviation, mean = torch.std_mean(subset(value).float(), correction=0)
            for signal, number in ((DATA_MEAN, mean), (DATA_STD, deviation), (DATA_MIN, low), (DATA_MAX, high)):
                add(path, signal, number)
        elif _may_be_tokens(argument, value):
            padded, full = padding(value)
            add(path, DATA_PADDING, padded)
            add(path, DATA_UNPADDED_TEXTS, full)
            add(path, DATA_CUT_TEXTS, cut_texts(value))

    def _measure_image(self, call: ModuleCall) -> None:
        weight = own_parameters(call.frame.module).get("weight")
        if weight is None or is_foreign(weight) or weight.dim() < 2 or not call.given or call.given[0].dim() != 4:
            return
        image, path = call.given[0], call.frame.path
        has_channels = not {image.shape[1], image.shape[3]}.isdisjoint((1, 3))
        if image.is_floating_point() and is_measurable(image) and has_channels:
            with self._recording.measuring(path, Kind.BATCH):
                low, high = torch.aminmax(image.detach())
                self._recording.buffer.add(path, DATA_LAYER_ABSMAX, torch.maximum(-low, high))


def given_to(call: ModuleCall) -> list[tuple[str, Tensor]]:
    """Return what a model is called with by name, also what is nested in dicts, lists and dataclasses."""
    positional = ((f"input{place}", value) for place, value in enumerate(call.arguments))
    arguments = (*positional, *call.keywords.items())
    return [tensor for name, value in arguments for tensor in named_tensors(value, name)][:_MOST_INPUTS]


def _may_be_tokens(argument: str, value: Tensor) -> bool:
    integers = not (value.is_floating_point() or value.dtype == torch.bool or value.is_complex())
    return integers and value.dim() == 2 and "mask" not in argument.lower()


def _is_batch(value: Tensor) -> bool:
    return value.dim() > 1 and is_measurable(value) and len(value) > 1 and not value.requires_grad
