"""Which of the run's explanations the Explain page shows: a later one, such as a map, hides none of the earlier."""

from __future__ import annotations

from typing import Any

from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.explanations import explanations_of


def explanation_choices(context: Context) -> Any:
    """Return the explanations of the run as links, None where it has one alone."""
    places = list(explanations_of(context.run, context.root))
    if len(places) < 2:
        return None
    chosen = context.view.explanation if context.view.explanation in places else places[0]
    links = []
    for place in places:
        here = {"aria-current": "true"} if place == chosen else {}
        href = context.view.link(explanation="" if place == places[0] else place, step=None)
        links.append(html.Li(html.A(place.removeprefix("../"), href=href, **here)))
    words = html.Span("Explanations, newest first", className="dimmed")
    return html.Nav([words, html.Ul(links)], className="choices steps", **{"aria-label": "Explanations of this run"})
