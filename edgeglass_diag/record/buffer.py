"""Collects the statistics of one window on their device; they leave it in one copy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeglass_diag.records import ParameterOrigin, Reading, Site, Window
from edgeglass_diag.signals import Reduction, Signal

Deferred = Callable[[Tensor], Tensor]
"""What the writing thread makes of a small tensor, on the host."""


@dataclass(slots=True, eq=False)
class _Entry:
    """Occurrences of one signal: at one site with one or more components, or at many sites with one each."""

    sites: tuple[str, ...]
    signal: Signal
    values: list[Tensor | float]
    finish: Deferred | None = None


@dataclass(frozen=True, slots=True)
class PendingWindow:
    """A window whose values are on their way to the host, one tensor per device and dtype.

    ``resolve`` is for the thread that writes.
    """

    step: int
    entries: tuple[tuple[tuple[str, ...], Signal, torch.Size, Deferred | None], ...]
    packs: tuple[Tensor, ...]
    ready: tuple[torch.Event, ...]
    sites: tuple[Site, ...]
    origins: tuple[ParameterOrigin, ...]

    def resolve(self) -> Window:
        """The same window as plain readings."""
        for event in self.ready:
            event.synchronize()
        values = torch.cat([pack.double() for pack in self.packs]) if self.packs else torch.empty(0)
        everything: list[float] = values.tolist()
        readings, start = [], 0
        for sites, signal, shape, finish in self.entries:
            stop = start + shape.numel()
            numbers = everything[start:stop]
            if finish is not None:
                numbers = finish(values[start:stop].reshape(shape)).reshape(-1).tolist()
            start = stop
            if len(sites) == 1:
                readings.append(Reading(self.step, sites[0], signal, tuple(numbers)))
            else:
                pairs = zip(sites, numbers, strict=True)
                readings.extend(Reading(self.step, site, signal, (number,)) for site, number in pairs)
        return Window(self.step, tuple(readings), self.sites, self.origins)


class WindowBuffer:
    """Statistics of the current window.

    A signal seen several times (accumulation, several forward passes) is averaged over its occurrences, summed
    where it is a sum by nature (loss, counts), or its maximum taken where it is a maximum. NaN stays NaN.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[tuple[str, ...], Signal], _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, site: str, signal: Signal, value: Tensor | float) -> None:
        """Add a statistic of one site: a number, or one number per component."""
        if not isinstance(value, Tensor):
            self._put((site,), signal, float(value))
            return
        value = value.detach() if value.requires_grad else value
        self._put((site,), signal, value if value.dim() < 2 else value.reshape(-1))

    def add_each(self, sites: Sequence[str], signal: Signal, values: Tensor) -> None:
        """Add one number for each of several sites: (len(sites),)."""
        if len(sites) != values.numel():
            raise ValueError(f"{signal}: {len(sites)} sites but {values.numel()} values")
        if sites:
            self._put(tuple(sites), signal, values.detach() if values.requires_grad else values)

    def defer(self, site: str, signal: Signal, value: Tensor, finish: Deferred) -> None:
        """Add a small tensor from which the writing thread computes the statistic, where the device would wait."""
        self._put((site,), signal, value.detach(), finish)

    def hand_to(self, other: WindowBuffer, signals: Mapping[Signal, Signal], left_out: Collection[Signal] = ()) -> None:
        """Add statistics to another buffer: of some signals under other ones, and of those of their families as such.

        Args:
            other: takes them.
            signals: what they are called there.
            left_out: those that are not handed on.
        """
        families = {signal.family for signal in signals.values()}
        for entry in self._entries.values():
            signal = signals.get(entry.signal, entry.signal)
            if signal.family in families and signal not in left_out:
                for value in entry.values:
                    other._put(entry.sites, signal, value, entry.finish)

    def keep(self, families: Collection[str]) -> None:
        """Forget all but some families of signals."""
        self._entries = {key: entry for key, entry in self._entries.items() if entry.signal.family in families}

    def _put(
        self, sites: tuple[str, ...], signal: Signal, value: Tensor | float, finish: Deferred | None = None
    ) -> None:
        entry = self._entries.get((sites, signal))
        if entry is None:
            entry = self._entries[sites, signal] = _Entry(sites, signal, [], finish)
        if finish is None or not entry.values:
            entry.values.append(value)

    def flush(self, step: int, sites: tuple[Site, ...], origins: tuple[ParameterOrigin, ...]) -> PendingWindow:
        """Reduce, pack into one tensor, begin its copy to the host, and begin anew."""
        groups: dict[tuple[torch.device, torch.dtype], list[tuple[_Entry, Tensor]]] = {}
        numbers: list[tuple[_Entry, float]] = []
        for entry in _apart(self._entries.values()):
            value = entry.values[0] if len(entry.values) == 1 else _reduce(entry.signal, entry.values)
            if isinstance(value, float):
                numbers.append((entry, value))
            elif has_values(value):
                groups.setdefault((value.device, value.dtype), []).append((entry, value))
        self._entries.clear()
        layout = [(e.sites, e.signal, v.shape, e.finish) for group in groups.values() for e, v in group]
        ready: list[torch.Event] = []
        packs = [to_host([value for _, value in group], ready) for group in groups.values()]
        if numbers:
            layout += [(entry.sites, entry.signal, torch.Size((1,)), entry.finish) for entry, _ in numbers]
            packs.append(torch.tensor([value for _, value in numbers], dtype=torch.float64))
        return PendingWindow(step, tuple(layout), tuple(packs), tuple(ready), sites, origins)

    def clear(self) -> None:
        """Forget the window."""
        self._entries.clear()


def _apart(entries: Collection[_Entry]) -> list[_Entry]:
    """Return the same occurrences, those of signals that a site has in several entries by site.

    Several parts of a window may have been measured together with others each time.
    """
    places: dict[Signal, list[_Entry]] = {}
    for entry in entries:
        places.setdefault(entry.signal, []).append(entry)
    found: dict[tuple[tuple[str, ...], Signal], _Entry] = {}
    for signal, same in places.items():
        if len(same) == 1 and len(same[0].sites) == 1:
            found[same[0].sites, signal] = same[0]
            continue
        sites = [site for entry in same for site in entry.sites]
        if len(sites) < 2 or len(set(sites)) == len(sites):
            found |= {(entry.sites, signal): entry for entry in same}
            continue
        for entry in same:
            for values in entry.values:
                each = values.unbind() if isinstance(values, Tensor) and len(entry.sites) > 1 else (values,)
                for site, value in zip(entry.sites, each, strict=True):
                    one = found.setdefault(((site,), signal), _Entry((site,), signal, [], entry.finish))
                    one.values.append(value.reshape(-1) if isinstance(value, Tensor) else value)
    return list(found.values())


def _reduce(signal: Signal, occurrences: Sequence[Tensor | float]) -> Tensor | float:
    tensors = [_as_tensor(value) for value in occurrences]
    if len({value.shape for value in tensors}) > 1:
        tensors = [value.mean().reshape(1) for value in tensors]
    stacked = torch.stack(_on_one_device(tensors))
    match signal.reduction:
        case Reduction.SUM:
            return stacked.sum(0)
        case Reduction.MAX:
            return stacked.amax(0)
        case Reduction.MEAN:
            return stacked.mean(0)


def _as_tensor(value: Tensor | float) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor([value], dtype=torch.float64)


def _on_one_device(parts: list[Tensor]) -> list[Tensor]:
    device = next((part.device for part in parts if part.device.type != "cpu"), torch.device("cpu"))
    exact = torch.float32 if device.type == "mps" else torch.float64
    return [part.to(device, exact, non_blocking=True) for part in parts]


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor is more than its shape."""
    return not tensor.is_meta


def to_host(parts: list[Tensor], ready: list[torch.Event]) -> Tensor:
    """All parts in one tensor in host memory, filled once the event added to ``ready`` has passed."""
    packed = torch.cat([part if part.dim() == 1 else part.reshape(-1) for part in parts])
    if packed.device.type != "cuda":
        return packed.cpu()
    host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
    host.copy_(packed, non_blocking=True)
    event = torch.Event(packed.device)
    event.record()
    ready.append(event)
    return host
