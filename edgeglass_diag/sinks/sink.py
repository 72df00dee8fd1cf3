"""What a sink is, and the names under which it shows what a record holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.records import Finding, Reading, RunStatus
from edgeglass_diag.signals import Components
from edgeglass_diag.sites import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROJECT = "edgeglass-diag"
"""The project or experiment of a tracker, where its own environment variable names none."""

_BINS = 32


@dataclass(frozen=True)
class About:
    """The run that a sink is told of.

    Attributes:
        name: of the run.
        folder: of the run, absolute.
    """

    name: str
    folder: Path


class Sink:
    """Takes a run in the order of its steps; every call may raise what its package raises.

    Attributes:
        place: where the run went, as a person finds it.
    """

    place: str = ""

    def readings(self, step: int, readings: Iterable[Reading]) -> None:
        """Take what was read in a window; several windows may have the same step."""

    def finding(self, finding: Finding) -> None:
        """Take a finding; one that got worse comes again."""

    def embeddings(
        self, step: int, image: NDArray[np.float32], text: NDArray[np.float32], captions: Sequence[str] = ()
    ) -> None:
        """Take the embeddings of the pairs of a step, (pairs, dims) each, and a caption for each pair, if any."""

    def close(self, status: RunStatus) -> None:
        """Take note of how the run ended; nothing comes after it."""


@contextmanager
def closing(sink: Sink, status: RunStatus) -> Iterator[None]:
    """Close a sink with how the run ended; one that failed as well as it goes, as a run that was cut off."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            sink.close(RunStatus.STOPPED)
        raise
    sink.close(status)


def scalars(readings: Iterable[Reading]) -> Iterator[tuple[str, float]]:
    """Yield each number with its name: ``SIGNAL/SITE``, and behind it ``/headN`` where a signal has one for each head.

    >>> from edgeglass_diag.signals.attention import ATTENTION_ENTROPY
    >>> [name for name, _ in scalars([Reading(0, "block.attn", ATTENTION_ENTROPY, (0.5, 0.25))])]
    ['attention/entropy/block.attn/head0', 'attention/entropy/block.attn/head1']
    """
    for reading in readings:
        name = f"{reading.signal}/{reading.site}" if reading.site else str(reading.signal)
        if reading.signal.components is Components.HEADS:
            yield from ((f"{name}/head{head}", value) for head, value in enumerate(reading.values))
        else:
            yield from ((name, value) for value in reading.values)


def histograms(readings: Iterable[Reading]) -> dict[str, list[float]]:
    """Return the finite numbers that a sink draws as a histogram, by its name.

    A record holds no single entries of a gradient and no single weights of an attention. A signal of attention is
    spread over the heads of its site, ``histogram/SIGNAL/SITE``; one of gradients over the parameters,
    ``histogram/SIGNAL``. Spreads of fewer than two numbers are left out.
    """
    found: dict[str, list[float]] = {}
    for reading in readings:
        signal = reading.signal
        if signal.family == "attention" and signal.components is Components.HEADS:
            found.setdefault(f"histogram/{signal}/{reading.site}", []).extend(filter(math.isfinite, reading.values))
        elif signal.family == "gradient" and signal.kind is Kind.PARAMETER and reading.site:
            found.setdefault(f"histogram/{signal}", []).extend(filter(math.isfinite, reading.values))
    return {name: values for name, values in found.items() if len(values) > 1}


def counted(values: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the counts of at most 32 bins and their edges, one more; numbers that hardly differ have fewer bins.

    >>> counts, edges = counted([0.5, 0.5])
    >>> counts.tolist(), len(edges)
    ([2], 2)
    """
    import numpy as np

    low, high = min(values), max(values)
    edges = np.unique(np.linspace(low, high, min(len(values), _BINS) + 1))
    if len(edges) < 2:
        edges = np.array([low, np.nextafter(low, np.inf)])
    return np.histogram(values, edges)[0], edges


def title_of(finding: Finding) -> str:
    """Return what tells a finding from all others: its code, name and site."""
    return f"{finding.code} {finding.name}" + (f" at {finding.site}" if finding.site else "")


def text_of(finding: Finding) -> str:
    """Return what an alert says: the fault with its numbers, and what to do."""
    return finding.message + (f"\n\nFix: {finding.fix}" if finding.fix else "")
