"""The choice of a step among those of which something was kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from edgeglass_dashboards.context import Context

_MOST = 24


def stepper(context: Context, steps: Sequence[int], shown: int | None) -> Any:
    """The steps as links, of many every so many; the one that is shown and both ends are always among them."""
    if not steps or shown is None:
        return None
    every = -(-len(steps) // _MOST)
    kept = sorted({*steps[::every], steps[-1], shown})
    links = []
    for step in kept:
        here = {"aria-current": "true"} if step == shown else {}
        asked = None if step == steps[-1] else step
        links.append(html.Li(html.A(str(step), href=context.view.link(step=asked, pair=None), **here)))
    return html.Nav(
        [html.Span("Step", className="dimmed"), html.Ul(links)], className="choices steps", **{"aria-label": "Step"}
    )
