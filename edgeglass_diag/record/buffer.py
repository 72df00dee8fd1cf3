"""Collects the statistics of one window on their device; they leave it in one copy."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeglass_diag.records import ParameterOrigin, Reading, Site, Window

_SUMMED = {"loss/total", "loss/chance", "loss/explained", "loss/weight", "activation/nonfinite", "gradient/nonfinite"}
_MAXIMUM = {"attention/logit_max", "activation/absmax"}


@dataclass(frozen=True, slots=True)
class PendingWindow:
    """A window whose values are still tensors; ``resolve`` is for the thread that writes."""

    step: int
    layout: tuple[tuple[str, str, int], ...]
    values: Tensor
    sites: tuple[Site, ...]
    origins: tuple[ParameterOrigin, ...]

    def resolve(self) -> Window:
        """The same window as plain readings."""
        numbers = self.values.tolist()
        readings, start = [], 0
        for site, signal, size in self.layout:
            readings.append(Reading(self.step, site, signal, tuple(numbers[start : start + size])))
            start += size
        return Window(self.step, tuple(readings), self.sites, self.origins)


class WindowBuffer:
    """Statistics of the current window.

    A signal seen several times (accumulation, several forward passes) is averaged over its occurrences, summed
    where it is a sum by nature (loss, counts), or its maximum taken where it is a maximum. NaN stays NaN.
    """

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, str], list[Tensor]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._values)

    def add(self, site: str, signal: str, value: Tensor | float) -> None:
        """Add a 0-d or 1-d statistic."""
        tensor = value.detach() if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
        self._values[site, signal].append(tensor.reshape(-1))

    def flush(self, step: int, sites: tuple[Site, ...], origins: tuple[ParameterOrigin, ...]) -> PendingWindow:
        """Reduce, pack into one tensor, copy it to the host, and begin anew."""
        layout, parts = [], []
        for (site, signal), occurrences in self._values.items():
            value = _reduce(signal, occurrences)
            layout.append((site, signal, value.numel()))
            parts.append(value)
        self._values.clear()
        packed = torch.cat(_on_one_device(parts)).cpu() if parts else torch.empty(0)
        return PendingWindow(step, tuple(layout), packed, sites, origins)

    def clear(self) -> None:
        """Forget the window."""
        self._values.clear()


def _reduce(signal: str, occurrences: list[Tensor]) -> Tensor:
    if len({len(value) for value in occurrences}) > 1:
        occurrences = [value.mean().reshape(1) for value in occurrences]
    if len(occurrences) == 1:
        return occurrences[0]
    stacked = torch.stack(_on_one_device(occurrences))
    if signal in _SUMMED:
        return stacked.sum(0)
    return stacked.amax(0) if signal in _MAXIMUM else stacked.mean(0)


def _on_one_device(parts: list[Tensor]) -> list[Tensor]:
    device = next((part.device for part in parts if part.device.type != "cpu"), torch.device("cpu"))
    exact = torch.float32 if device.type == "mps" else torch.float64
    return [part.to(device, exact, non_blocking=True) for part in parts]
