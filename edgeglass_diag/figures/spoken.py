"""What a figure shows in one sentence, for who does not see it."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

_MOST = 6
_KINDS = {"heatmap": "Heatmap", "bar": "Bars", "histogram": "Bars", "table": "Table", "image": "Picture"}


def sentence(figure: go.Figure) -> str:
    """Return what kind of figure it is, of what by what, and of each line where it begins, ends and between what it is.

    >>> import plotly.graph_objects as go
    >>> sentence(go.Figure(go.Scatter(x=[0, 5], y=[4.0, 1.5], name="loss", mode="lines")))
    'Lines: loss from 4 to 1.5.'
    >>> sentence(go.Figure())
    'No readings.'
    """
    traces = [trace for trace in figure.data if trace.hoverinfo != "skip"]
    if not traces:
        notes = [str(note.text).replace("<br>", " ") for note in figure.layout.annotations if note.text]
        return f"{notes[0] if notes else 'No readings'}."
    what = _axes(figure)
    courses = [course for trace in traces if (course := _course(trace))]
    more = [f"and {len(courses) - _MOST} more"] if len(courses) > _MOST else []
    told = "; ".join([*courses[:_MOST], *more])
    return f"{_kind(traces[0])}{f' of {what}' if what else ''}{f': {told}' if told else ''}."


def _kind(trace: Any) -> str:
    if trace.type != "scatter":
        return _KINDS.get(trace.type, "Figure")
    return "Points" if trace.mode in ("markers", "markers+text") else "Lines"


def _axes(figure: go.Figure) -> str:
    names = [axis.title.text for axis in (figure.layout.yaxis, figure.layout.xaxis) if axis.title.text]
    return " by ".join(name.replace("<br>", " ") for name in names)


def _course(trace: Any) -> str:
    if trace.type == "heatmap":
        return _heat(trace)
    x, y = (
        list(values) if values is not None else [] for values in (getattr(trace, "x", None), getattr(trace, "y", None))
    )
    known = [value for value in y if _is_number(value)]
    name = _plain(trace.name)
    if not known:
        return ""
    if trace.type != "scatter" or "lines" not in (trace.mode or "lines"):
        count = f"{len(known)} points" if len(known) > 1 else _say(known[0])
        return f"{name} {count}".strip()
    if len(known) == 1 or not x:
        return f"{name} {_say(known[0])}".strip()
    lowest, highest = min(known), max(known)
    between = f", between {_say(lowest)} and {_say(highest)}" if {lowest, highest} != {known[0], known[-1]} else ""
    return f"{name} from {_say(known[0])} to {_say(known[-1])}{between}".strip()


def _heat(trace: Any) -> str:
    rows = len(trace.z) if trace.z is not None else 0
    columns = len(trace.z[0]) if rows else 0
    return f"{rows} rows, {columns} columns"


def _plain(name: object) -> str:
    return str(name or "").replace("<br>", " ")


def _is_number(value: object) -> bool:
    try:
        return value is not None and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _say(value: Any) -> str:
    return f"{float(value):.3g}"
