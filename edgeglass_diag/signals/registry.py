"""Looks signals up by their path."""

from __future__ import annotations

import difflib
from functools import cache

from edgeglass_diag.errors import UsageError
from edgeglass_diag.signals.signal import Signal

METRIC = "metric"
"""The family of what a training logs itself."""

_SIGNALS: dict[str, Signal] = {}
_FORMER: dict[str, Signal] = {}


def register(signal: Signal) -> Signal:
    """Add a signal; its path must be new.

    Raises:
        ValueError: for a path that another signal has or had.
    """
    for path in (str(signal), *signal.former):
        if path in _SIGNALS or path in _FORMER:
            raise ValueError(f"signal {path!r} is registered twice")
    _SIGNALS[str(signal)] = signal
    _FORMER.update(dict.fromkeys(signal.former, signal))
    return signal


def registered() -> tuple[Signal, ...]:
    """Return all signals in the order in which they stand in the registry; metrics of trainings are not among them."""
    return tuple(_SIGNALS.values())


@cache
def metric(name: str) -> Signal:
    """Return the signal of a metric that a training logs under ``name``.

    >>> metric("val/loss")
    'metric/val/loss'
    """
    return Signal(f"{METRIC}/{name}", None, f"{name}, as the training logs it.", unit="as logged")


def find(path: str) -> Signal:
    """Return the signal with this path, or one that had it in older runs.

    Raises:
        UsageError: for a path that no signal has.
    """
    known = recorded(path)
    if known is None:
        close = difflib.get_close_matches(path, list(_SIGNALS), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"no signal {path!r}{hint} (docs/signals.md lists them)")
    return known


def recorded(path: str) -> Signal | None:
    """Return the signal that a store holds under this path, None where this version knows none."""
    if path.startswith(f"{METRIC}/"):
        return metric(path.removeprefix(f"{METRIC}/"))
    return _SIGNALS.get(path) or _FORMER.get(path)


def family(name: str) -> dict[str, Signal]:
    """Return the signals of a family by the rest of their path, as ``entropy`` for ``attention/entropy``.

    >>> family("dropout")
    {'p': 'dropout/p'}
    """
    return {signal.quantity: signal for signal in _SIGNALS.values() if signal.family == name}
