"""A series as one small line without axes: an SVG that takes the colour of the text around it, as a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import quote

WIDTH, HEIGHT = 120, 28
_PAD = 2.0
_NOISE = 1e-3  # of the values: a difference below it is shown as none
_SPREAD = 300  # from here on the line shows powers of ten


def spark_svg(low: Sequence[float], high: Sequence[float], reference: float | None = None) -> str:
    """Return the SVG of a series whose columns reach from ``low`` to ``high``; what is not finite leaves a gap.

    Args:
        low: lowest value of each column.
        high: highest value of each column.
        reference: a level to compare with, drawn dashed; None for none.

    >>> spark_svg([1.0, 2.0], [1.0, 2.0]).count("L")
    1
    """
    values = [value for value in (*low, *high) if math.isfinite(value)]
    if not values:
        return ""
    known = [*values, reference] if reference is not None and math.isfinite(reference) else values
    powers = min(values) > 0 and max(values) > _SPREAD * min(values)
    bottom, top = (_power(min(known), powers), _power(max(known), powers))
    if top - bottom < _NOISE * max(abs(top), abs(bottom)):
        bottom, top = bottom - 1, top + 1

    def height(value: float) -> str:
        share = 0.5 if top == bottom else (_power(value, powers) - bottom) / (top - bottom)
        return f"{HEIGHT - _PAD - share * (HEIGHT - 2 * _PAD):.1f}"

    step = WIDTH / max(1, len(low) - 1)
    path, pen_down = [], False
    for column, (lowest, highest) in enumerate(zip(low, high, strict=True)):
        ends = [value for value in dict.fromkeys((lowest, highest)) if math.isfinite(value)]
        for value in ends:
            path.append(f"{'L' if pen_down else 'M'}{column * step:.1f} {height(value)}")
            pen_down = True
        pen_down = pen_down and bool(ends)
    dashed = "" if reference is None or not math.isfinite(reference) else _dashes(height(reference))
    single = path[0].replace("M", "M0 ").split(" ") if len(path) == 1 else None
    line = f"M0 {single[-1]}h{WIDTH}" if single else "".join(path)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' fill='none'"
        f" stroke='black' stroke-width='1.7' stroke-linejoin='round'>{dashed}<path vector-effect='non-scaling-stroke'"
        f" d='{line}'/></svg>"
    )


def as_mask(svg: str) -> str:
    """Return an SVG as the ``url(...)`` of a style."""
    return f'url("data:image/svg+xml,{quote(svg, safe=" =:/")}")'


def _power(value: float, powers: bool) -> float:
    return math.log10(max(value, 1e-30)) if powers else value


def _dashes(height: str) -> str:
    return (
        f"<path vector-effect='non-scaling-stroke' opacity='.55' stroke-dasharray='4 3' stroke-width='1.2'"
        f" d='M0 {height}h{WIDTH}'/>"
    )
