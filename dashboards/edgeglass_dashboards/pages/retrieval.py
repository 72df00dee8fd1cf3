"""Retrieval: does an image find its caption, and how many dims does it take?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.evaluated import CARDS, evaluation_panels, evaluation_words, missing
from edgeglass_dashboards.page_summary import answer
from edgeglass_dashboards.pages.summary import recall_words, result_table
from edgeglass_dashboards.panels import LinePanel, Panel, StillPanel, slot
from edgeglass_dashboards.snapshots import key_of, sample_at, step_at, widths
from edgeglass_dashboards.stepper import stepper
from edgeglass_diag.figures.lines import recall_figure, recall_points
from edgeglass_diag.figures.of_run import RECALLS
from edgeglass_diag.verdict import say

RECALL = LinePanel(
    "recall",
    RECALLS,
    recall_figure,
    recall_points,
    "No recall yet. It appears when the program has logged it for the second time.",
    least=2,
)
_FILLS = "No embeddings were kept of this run. They are kept at some steps of a training whose loss compares two sides."


class Retrieval:
    """Recall over the training, at the end, and by width among the pairs that were kept."""

    name = "retrieval"
    title = "Retrieval & MRL"
    question = "Does an image find its caption among the others, and do its first dims alone do as well?"
    signals = RECALL.signals

    def sections(self, context: Context) -> dict[str, Any]:
        """The answer, the final table, the words of the curve."""
        run = context.run
        step = step_at(run, context.view.step)
        evaluated, told = evaluation_words(run), recall_words(context.recent)
        words = evaluated or told or "No recall yet."
        return {
            "answer": answer(run, (self.name,), words, recorded=bool(run.result.get("i2t") or evaluated or told)),
            "missing": missing(run, told=bool(told)),
            "result": result_table(run.result),
            "recall-words": told,
            "width-words": _width_words(context, step),
            "steps": stepper(context, run.embedding_steps(), step),
        }

    def panels(self, context: Context) -> Sequence[Panel]:
        """Evaluations by step, the program's own recall by step, recall by width of the pairs that were kept."""
        step = step_at(context.run, context.view.step)
        kept = StillPanel("widths", step, lambda template: _by_width(context, step, template), _FILLS)
        return *evaluation_panels(context), RECALL, kept

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Answer, the figures that have something to show, what is missing, the final table."""
        *evaluation, recall, kept = self.panels(context)
        cards = [_card(title, html.P(words, className="caption"), panel, content)
                 for (title, words), panel in zip(CARDS.values(), evaluation, strict=True)]  # fmt: skip
        told = html.P(content["recall-words"], id="recall-words", className="caption")
        of_kept = [
            html.P(content["width-words"], id="width-words", className="caption"),
            html.Div(content["steps"], id="steps"),
        ]
        cards.append(_card("Recall@1 that the program logged", told, recall, content))
        cards.append(_card("Recall by width of kept training pairs", of_kept, kept, content))
        return html.Div(
            [
                html.Section(content["answer"], id="answer", **{"aria-label": "Answer"}),
                html.Div(cards, className="filled-figures"),
                html.Div(content["missing"], id="missing"),
                html.Section(content["result"], id="result"),
            ],
            className="stack",
        )


def _card(title: str, words: Any, panel: Panel, content: dict[str, Any]) -> Any:
    return dmc.Paper(
        [
            dmc.Title(title, order=2, size="h4"),
            *(words if isinstance(words, list) else [words]),
            html.Div(slot(panel, content), id=f"{panel.name}-panel"),
        ],
        withBorder=True, p="md", radius="md", className="figure-card",
    )  # fmt: skip


def _recalls(context: Context, step: int | None) -> tuple[int, dict[int, tuple[float, float]]]:
    """How many pairs were kept, and recall@1 among them by width; counted once for each step."""
    if step is None:
        return 0, {}

    def count() -> tuple[int, dict[int, tuple[float, float]]]:
        from edgeglass_diag.measures.batch_recall import recall_at

        sample = sample_at(context.run, step)
        if sample is None or len(sample) < 2:
            return 0, {}
        return len(sample), recall_at(sample.image, sample.text, 1, widths(context.run, sample.image.shape[1]))

    counted: tuple[int, dict[int, tuple[float, float]]] = context.index.jobs.once(
        key_of(context, step, "recalls"), count
    )
    return counted


def _width_words(context: Context, step: int | None) -> str:
    pairs, recalls = _recalls(context, step)
    if not recalls:
        return ""
    full, least = max(recalls), min(recalls)
    mean = {width: sum(both) / 2 for width, both in recalls.items()}
    return (
        f"Among {pairs} pairs of the training kept at step {step}: {say(mean[full])} at {full} dims, "
        f"{say(mean[least])} at {least}; chance {1 / pairs:.2g}. The whole curve on unseen pairs: edgeglass-diag eval."
    )


def _by_width(context: Context, step: int | None, template: Any) -> Any:
    import pandas as pd

    from edgeglass_diag.figures.retrieval import mrl_figure

    pairs, recalls = _recalls(context, step)
    if not recalls:
        return None
    full = max(recalls)
    rows = [("prefix", width, full / width, *both, sum(both) / 2) for width, both in recalls.items()]
    curve = pd.DataFrame(rows, columns=["way", "dims", "saved", "i2t", "t2i", "mean"])
    return mrl_figure(curve, template, chance=1 / pairs)


PAGE = Retrieval()
