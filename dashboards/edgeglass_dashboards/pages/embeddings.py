"""Embeddings: do both sides spread, and do pairs lie together?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.page_summary import answer
from edgeglass_dashboards.pair_figures import ALL_STEPS, all_steps, plane_words, projected_pairs
from edgeglass_dashboards.pair_view import (
    color_choices,
    kept_pairs,
    pair_details,
    pair_lists,
    what_was_kept,
)
from edgeglass_dashboards.panels import Panel, StillPanel, slot
from edgeglass_dashboards.snapshots import METHODS, key_of, projection, sample_at, side_frames, step_at
from edgeglass_dashboards.stepper import stepper
from edgeglass_diag.figures.ranks import sides_figure
from edgeglass_diag.figures.scales import scale_of
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.signals import Signal
from edgeglass_diag.signals.embeddings import EMBEDDING_EFFECTIVE_RANK
from edgeglass_diag.verdict import say

_KEEPS = "No embeddings were kept of this run. They are kept at some steps of a training whose loss compares two sides."

_SPACE = (
    "All kept steps on the same two axes, fitted to all of them together. Each step shows the pairs of its own batch; "
    "the thick line joins the means of both sides: the modality gap."
)


class Embeddings:
    """Projection with pair lines, neighbours, cosines, spectrum at a step; effective rank over the training."""

    name = "embeddings"
    title = "Embeddings"
    question = "Do the embeddings of both sides spread, and do pairs lie closer than non-pairs?"
    signals: tuple[Signal, ...] = ()

    def sections(self, context: Context) -> dict[str, Any]:
        """The answer, the choice of method, the steps."""
        run, step = context.run, step_at(context.run, context.view.step)
        kept = kept_pairs(context, step)
        return {
            "answer": answer(run, (self.name, "signal"), self._words(context, step), recorded=step is not None),
            "choices": _choices(context),
            "colors": color_choices(context),
            "kept": what_was_kept(kept),
            "pair": pair_details(context, kept),
            "pairs": pair_lists(context, kept),
            "steps": stepper(context, run.embedding_steps(), step),
            "plane-words": plane_words(None if step is None else projection(context, step, _method(context))),
            "density-words": _separation(context, step),
        }

    def panels(self, context: Context) -> Sequence[Panel]:
        """Projection, cosines, spectrum, rank."""
        step = step_at(context.run, context.view.step)
        method = _method(context)

        def projected(template: Any) -> Any:
            return None if made is None else projected_pairs(context, made, kept_pairs(context, step), template)

        def of_sample(draw: Any) -> Any:
            def make(template: Any) -> Any:
                frames = None if step is None else _frames(context, step)
                return None if frames is None else draw(frames, template)

            return make

        made = None if step is None else projection(context, step, method)
        waiting = made is None and method in context.waits
        film = all_steps(context, TEMPLATES[context.scheme])
        computing = film is None and ALL_STEPS in context.waits
        view = [context.view.color, context.view.pair]
        return (
            StillPanel("projection", [step, method, waiting, *view], projected, _words_of(METHODS[method], waiting)),
            StillPanel("training", [context.run.embedding_steps(), computing],
                       lambda _: film and film[0], _words_of("The plane of all steps", computing), 520),
            StillPanel("density", step, of_sample(_density), _KEEPS),
            StillPanel("spectrum", step, of_sample(_spectrum), _KEEPS),
            StillPanel("rank", context.run.last_step, lambda template: _rank(context, template),
                       "No effective rank yet. It appears with the first recorded step whose loss compares two sides."),
        )  # fmt: skip

    def pending(self, context: Context) -> bool:
        """Whether a picture is still being made."""
        return bool(context.waits)

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Answer, projection with its choices, the other three."""
        panels = {panel.name: panel for panel in self.panels(context)}

        def card(title: str, name: str, *above: Any) -> Any:
            parts = [
                dmc.Title(title, order=2, size="h4"),
                *above,
                html.Div(slot(panels[name], content), id=f"{name}-panel"),
            ]
            return dmc.Paper(parts, withBorder=True, p="md", radius="md", className="figure-card")

        steps = html.Div(content["steps"], id="steps")
        choices = html.Div(content["choices"], id="choices")
        plane = html.P(content["plane-words"], id="plane-words", className="caption")
        words = html.P(content["density-words"], id="density-words", className="caption")
        parts = {name: html.Div(content[name], id=name) for name in ("colors", "pair", "pairs")}
        parts["kept"] = html.P(content["kept"], id="kept", className="caption")
        small = [card("Cosines of pairs and non-pairs", "density", words), card("Singular values", "spectrum")]
        return html.Div(
            [
                html.Section(content["answer"], id="answer", **{"aria-label": "Answer"}),
                html.Div(
                    [
                        card(
                            "Both sides on a plane, pairs joined", "projection", steps, choices, parts["colors"], plane
                        ),
                        _card("Pair", parts["pair"], id="pair-card"),
                    ],
                    className="beside",
                ),
                _card("Worst pairs and hubs", parts["kept"], parts["pairs"]),
                card("The training in one space", "training", html.P(_SPACE, className="caption")),
                dmc.SimpleGrid(small, cols={"base": 1, "md": 2}),
                card("Effective rank over the training", "rank"),
            ],
            className="stack",
        )

    @staticmethod
    def _words(context: Context, step: int | None) -> str:
        ranks = {
            side: float(rows["value"].iloc[-1])
            for side, rows in side_frames(context.run, EMBEDDING_EFFECTIVE_RANK).items()
        }
        said = ", ".join(f"{side} {say(rank)}" for side, rank in ranks.items())
        return f"Effective rank at the newest step: {said}." if said else "No embeddings have been compared yet."


def _card(title: str, *parts: Any, **named: str) -> Any:
    return dmc.Paper([dmc.Title(title, order=2, size="h4"), *parts], withBorder=True, p="md", radius="md", **named)


def _method(context: Context) -> str:
    return context.view.signal if context.view.signal in METHODS else "pca"


def _words_of(name: str, computing: bool) -> str:
    return f"{name} is being computed; it appears here by itself." if computing else _KEEPS


def _choices(context: Context) -> Any:
    links = []
    for method, title in METHODS.items():
        here = {"aria-current": "true"} if (context.view.signal or "pca") == method else {}
        links.append(html.Li(html.A(title, href=context.view.link(page="embeddings", signal=method), **here)))
    return html.Nav(html.Ul(links), className="choices", **{"aria-label": "Projection"})


def _frames(context: Context, step: int) -> tuple[Any, Any] | None:
    """Densities of the cosines and spectra of a step's pairs, made once."""
    from edgeglass_diag.evaluation.frames import density_frame, spectrum_frame

    def make() -> tuple[Any, Any] | None:
        sample = sample_at(context.run, step)
        return None if sample is None else (density_frame(sample), spectrum_frame(sample))

    frames: tuple[Any, Any] | None = context.index.jobs.once(key_of(context, step, "frames"), make)
    return frames


def _density(frames: tuple[Any, Any], template: Any) -> Any:
    from edgeglass_diag.figures.embeddings import density_figure

    return density_figure(frames[0], template).update_layout(annotations=[], margin_b=8)  # its note is said above it


def _spectrum(frames: tuple[Any, Any], template: Any) -> Any:
    from edgeglass_diag.figures.embeddings import spectrum_figure

    return spectrum_figure(frames[1], template)


def _separation(context: Context, step: int | None) -> str:
    """How often a pair is above a non-pair, and how far apart the means of both sides are, in two sentences."""
    frames = None if step is None else _frames(context, step)
    chance = math.nan if frames is None else float(frames[0].attrs["separation"])
    if math.isnan(chance):
        return ""
    above = f"At step {step} a pair is above a non-pair with probability {chance:.3f}; 0.5 is chance."
    kept = kept_pairs(context, step)
    return f"{above} The means of both sides are {kept.found.gap:.3f} apart: the modality gap." if kept else above


def _rank(context: Context, template: Any) -> Any:
    sides = side_frames(context.run, EMBEDDING_EFFECTIVE_RANK)
    least = scale_of(EMBEDDING_EFFECTIVE_RANK, context.run.rules).low
    return sides_figure(sides, "effective rank", template, least=least) if sides else None


PAGE = Embeddings()
