"""Seconds that all rules take for a million readings, fed window by window as in a training.

python tests/benchmarks/rules_seconds.py
"""

from __future__ import annotations

import time

from dashboard import Synthetic

from edgeglass_diag.rules import CATALOGUE, Engine


def main() -> None:
    """Few windows of many heads, and many windows of single numbers."""
    for heads, windows in ((16, 60), (1, 556)):
        source = Synthetic(sites=200, heads=heads, signals=5)
        made = [source.window(10 * number) for number in range(windows)]
        engine = Engine([rule() for rule in CATALOGUE])
        begun = time.perf_counter()
        for window in made:
            engine.feed(window)
        engine.end()
        seconds = time.perf_counter() - begun
        count = sum(len(reading.values) for window in made for reading in window.readings)
        print(
            f"{count} readings in {windows} windows: {seconds:.2f} s, {1e3 * seconds / windows:.1f} ms each (aim 2 s)"
        )
        assert not engine.failures


if __name__ == "__main__":
    main()
