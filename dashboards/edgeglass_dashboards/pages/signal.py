"""Signal: where along the model the output stops to depend on the sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.page_summary import answer
from edgeglass_dashboards.pages.heat import history_card, history_panel, picked_words, scale_words
from edgeglass_dashboards.panels import HeatPanel, Panel, StillPanel, slot
from edgeglass_diag.figures.of_run import profile_at
from edgeglass_diag.figures.profile import Stage, first_that_loses, signal_profile
from edgeglass_diag.figures.scales import scale_of
from edgeglass_diag.signals.activations import ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.store import Run
from edgeglass_diag.verdict import say

_FILLS = "No sample signal yet. It appears with the first recorded step whose modules see a batch of at least two."
_HEAT = HeatPanel("heat", ACTIVATION_SAMPLE_SIGNAL, _FILLS)


class SignalPage:
    """The sample signal of every module at one step, and of all steps below."""

    name = "signal"
    title = "Signal"
    question = "Where does the model lose the image: which module's output no longer depends on the sample?"
    signals = (ACTIVATION_SAMPLE_SIGNAL,)

    def sections(self, context: Context) -> dict[str, Any]:
        """The answer, the words of the step, the words of the scale."""
        run = context.run
        step, stages = profile_at(run, context.view.step)
        words, healthy = profile_words(step, stages), keeps_the_sample(stages)
        return {
            "answer": answer(run, (self.name, "embeddings"), words, recorded=bool(stages), healthy=healthy),
            "step-words": _step_words(context, step),
            "scale-words": scale_words(scale_of(ACTIVATION_SAMPLE_SIGNAL, run.rules)),
            "picked": picked_words(context, ACTIVATION_SAMPLE_SIGNAL, "History of"),
        }

    def panels(self, context: Context) -> Sequence[Panel]:
        """The profile at the step, the slider's end, all steps, the picked module."""
        panels: list[Panel] = [_profile(context), _SliderEnd(), _HEAT]
        if context.view.site is not None:
            panels.append(history_panel(ACTIVATION_SAMPLE_SIGNAL, context.view.site))
        return panels

    def body(self, context: Context, content: dict[str, Any]) -> Any:
        """Answer, slider and profile, heatmap, history."""
        profile = [
            dmc.Title("Along the model, in order of execution", order=2, size="h4"),
            html.Div(_slider(context.run, context.view.step), className="slider"),
            html.Div(content["step-words"], id="step-words", className="caption"),
            html.Div(slot(_profile(context), content), id="profile-panel"),
        ]
        heat = [
            dmc.Title("All recorded steps", order=2, size="h4"),
            html.Div(content["scale-words"], id="scale-words", className="caption"),
            html.Div(slot(_HEAT, content), id="heat-panel"),
        ]
        cards = [
            dmc.Paper(part, withBorder=True, p="md", radius="md", className="figure-card") for part in (profile, heat)
        ]
        return html.Div(
            [html.Section(content["answer"], id="answer", **{"aria-label": "Answer"}), *cards, history_card(content)],
            className="stack",
        )


def profile_words(step: int | None, stages: Sequence[Stage]) -> str:
    """Which module loses the sample at a step, in a sentence.

    >>> profile_words(3, [Stage("a", 0.5), Stage("b", 0.0, ("a",))])
    'At step 3 the first module that loses the sample is b: 0 of its energy depends on it, of its inputs 0.5.'
    """
    if step is None or not stages:
        return "Nothing has been recorded here yet."
    lost = first_that_loses(stages)
    if lost is None:
        lowest = min((stage for stage in stages if not stage.is_dead), key=lambda s: s.signal, default=None)
        if lowest is None:
            finite = any(math.isfinite(stage.signal) for stage in stages)
            return f"At step {step} no output {'depends on the sample' if finite else 'is a finite number'}."
        place = lowest.site or "(model)"
        return f"At step {step} no module loses the sample; the least is {say(lowest.signal)} at {place}."
    fed = max(stage.signal for stage in stages if stage.site in lost.parents and not stage.is_dead)
    return (
        f"At step {step} the first module that loses the sample is {lost.site}: {say(lost.signal)} of its energy "
        f"depends on it, of its inputs {say(fed)}."
    )


def keeps_the_sample(stages: Sequence[Stage]) -> bool:
    """Return whether an output depends on the sample and no module loses it.

    >>> keeps_the_sample([Stage("a", 0.5)]), keeps_the_sample([Stage("a", math.nan)])
    (True, False)
    """
    return first_that_loses(stages) is None and not all(stage.is_dead for stage in stages)


def _profile(context: Context) -> StillPanel:
    step, stages = profile_at(context.run, context.view.step)

    def make(template: Any) -> Any:
        return signal_profile(stages, template) if stages else None

    return StillPanel("profile", [step, len(stages)], make, _FILLS)


def _slider(run: Run, step: int | None) -> Any:
    last = max(run.last_step, 1)
    return dmc.Slider(
        id="step",
        min=0,
        max=last,
        value=last if step is None else min(step, last),
        step=1,
        label=None,
        thumbLabel="Step",
        persistence=False,
    )


def _step_words(context: Context, step: int | None) -> Any:
    if step is None:
        return ""
    if context.view.step is None:
        words = f"Step {step}, the newest"
        return [words, "; moving the slider looks at an earlier one."]
    return [f"Step {step}. ", html.A("Back to the newest", href=context.view.link(step=None))]


class _SliderEnd:
    """Lets the slider grow with the run."""

    name = "step"
    empty = ""

    def update(self, context: Context, before: Any, after: Any) -> Any:
        """The new end, and the value where the newest step is shown."""
        last = max(context.run.last_step, 1)
        if before.rows.get(self.name) == last or self.name not in before.rows:
            return [], after.having(self.name, row=last, shows="", size=(0, 0))
        changes: dict[str, Any] = {"max": last}
        if context.view.step is None and not context.hold:
            changes["value"] = last
        return [(self.name, changes)], after.having(self.name, row=last, shows="", size=(0, 0))


PAGE = SignalPage()
