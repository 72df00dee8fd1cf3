"""The time line of a run: loss and chance as they come in, and the findings where they began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeglass_dashboards.context import Context, frame_of
from edgeglass_dashboards.cursor import Change, Cursor, digest
from edgeglass_dashboards.finding_links import Rules, link_to
from edgeglass_dashboards.panels import FEW, Updated, whole
from edgeglass_diag.figures.lines import loss_points
from edgeglass_diag.figures.of_run import LOSSES
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.figures.timeline import FindingMark, timeline_figure
from edgeglass_diag.records import Cut, Finding, Reading, Severity
from edgeglass_diag.signals import Signal
from edgeglass_diag.verdict import about_the_record

_MOST_MARKS = 24


@dataclass(frozen=True)
class Timeline:
    """Loss by step with the findings as marks; new points are added, a new finding draws it anew."""

    name: str = "loss"
    empty: str = "No loss yet. The curve appears with the first training step whose loss is recorded."
    signals: tuple[Signal, ...] = LOSSES

    def update(self, context: Context, before: Cursor, after: Cursor) -> Updated:
        """New points where the marks are those on the screen, the whole figure otherwise."""
        marks = marks_of(context.run.findings, context.run.rules)
        cuts = [cut.step for cut in context.run.cuts]
        shows = digest([[[mark.step, mark.code, mark.way] for mark in marks], cuts])
        fresh = [signal for signal in self.signals if context.fresh[signal]]
        extends = fresh and all(len(before.recent.get(signal, ())) >= FEW for signal in fresh)
        drawn = before.drawn.get(self.name, (0, 0)) != (0, 0)
        known = drawn and before.seen.get(self.name) == shows
        after = after.having(self.name, row=0, shows=shows, size=(1, 1) if drawn else (0, 0))
        if known and not fresh:
            return [], after
        changes: list[Change] = []
        if drawn and extends:
            added = loss_points(*(frame_of(context.fresh[signal]) for signal in self.signals))
            changes.append((self.name, {"extendData": [added, list(range(len(added["x"])))]}))
        if known and extends:
            return changes, after
        first = not before.rows  # all that there is has just been read
        known_readings = (context.fresh[s] if first else self._until(context, s, after) for s in self.signals)
        loss, chance = map(frame_of, known_readings)
        if loss.empty:
            return [], after
        figure = timeline_figure(loss, chance, TEMPLATES[context.scheme], marks, cuts)
        if marks and drawn and (extends or not fresh):  # what is zoomed into stays
            set_marks = {"trace": figure.data[-1], "shapes": figure.layout.shapes}
            return [*changes, (self.name, {"marks": set_marks})], after
        after = after.having(self.name, row=0, shows=shows, size=(1, 1))
        return [whole(self.name, figure, modebar=False)], after

    @staticmethod
    def _until(context: Context, signal: Signal, cursor: Cursor) -> list[Reading]:
        return [reading for row, reading in context.run.readings(signal, site="") if row <= cursor.rows[signal]]


def marks_of(findings: Sequence[Finding], rules: Rules) -> list[FindingMark]:
    """The findings about the model as marks, worst first at each step; only the worst where there are many."""
    found = [finding for finding in about_the_record(findings)[0] if finding.step >= 0]
    severe = [finding for finding in found if finding.severity is not Severity.INFO]
    alike: dict[tuple[int, str], list[Finding]] = {}
    for finding in severe:
        alike.setdefault((finding.onset, finding.code), []).append(finding)
    return [_mark(same, rules) for same in list(alike.values())[:_MOST_MARKS]]


def _mark(findings: Sequence[Finding], rules: Rules) -> FindingMark:
    first = findings[0]
    text = " ".join(f"{finding.message.rstrip('.')}." for finding in findings)
    return FindingMark(first.onset, first.code, str(first.severity), text, link_to(first, rules))


def marks_words(marks: Sequence[FindingMark], cuts: Sequence[Cut] = ()) -> str:
    """What the marks say, and where the run went on, in a sentence each."""
    said = [f"{mark.code} at step {mark.step}" for mark in marks]
    sentences = [f"Marks: {', '.join(said)}."] if said else []
    return " ".join([*sentences, *(f"Resumed at step {cut.step}." for cut in cuts)])
