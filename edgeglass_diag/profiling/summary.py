"""Reads a torch.profiler trace: where the time of a step goes, and the operators that take most of it. No torch."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeglass_diag.profiling.intervals import Interval, clipped, minus, total, union

Event = Mapping[str, Any]

PHASES = ("data wait", "forward", "backward", "optimizer", "recorder", "other")
DATA = ("enumerate(DataLoader)#", "data_wait")
"""Beginnings of the names of spans in which a program waits for data: torch's loader, and a span of one's own."""

_STEP, _FORWARD = "ProfilerStep#", "edgeglass_diag: forward"
_SPANS = {
    "recorder": ("edgeglass_diag: recorder",),
    "data wait": DATA,
    "optimizer": ("Optimizer.step#", "Optimizer.zero_grad#"),
    "backward": ("edgeglass_diag: backward",),
    "forward": (_FORWARD,),
}
_TOP = 10


def summarise(files: Sequence[Path]) -> dict[str, Any]:
    """Where the time of the steps goes, over the traces of all processes.

    ``phases`` has for each of ``PHASES`` its mean seconds in a step and its share; they add up to the step. They are
    times of the thread that trains, on the host: a phase of work that a device does is as long as the host takes to ask
    for it. A moment belongs to the first of recorder, data wait, optimizer, backward and forward that holds it.
    ``forward`` goes on to the backward pass that follows it, which takes in the loss; ``recorder`` is what
    edgeglass-diag itself does in that thread, and its operators are not among ``operators``.

    Args:
        files: traces, ``*.pt.trace.json``.

    Returns:
        steps, step_seconds (mean), phases, per_step, operators, data_seen (whether any span of data was there).

    Raises:
        ValueError: for a file that is no such trace, or traces without a whole step.
    """
    steps: list[dict[str, float]] = []
    operators: dict[str, list[float]] = {}
    seen = False
    for file in files:
        rows, spans = _read(file)
        steps += rows
        seen = seen or any(_is(span, DATA) for span in spans)
        for name, calls, own in operator_times(_not_ours(spans)):
            entry = operators.setdefault(name, [0.0, 0.0])
            entry[0] += calls
            entry[1] += own
    if not steps:
        raise ValueError(f"no whole step in {', '.join(map(str, files)) or 'no trace'}")
    length = sum(row["seconds"] for row in steps)
    ordered = sorted(operators.items(), key=lambda item: -item[1][1])[:_TOP]
    return {
        "steps": len(steps),
        "step_seconds": length / len(steps),
        "phases": {
            name: {
                "seconds": sum(row[name] for row in steps) / len(steps),
                "share": sum(row[name] for row in steps) / length,
            }
            for name in PHASES
        },
        "data_seen": seen,
        "operators": [
            {"name": name, "calls": calls / len(steps), "seconds": own / len(steps), "share": own / length}
            for name, (calls, own) in ordered
        ],
        "per_step": steps,
    }


def phases_of(spans: Sequence[Event], step: Event) -> dict[str, float]:
    """Microseconds of each phase within a step's span, of spans of the same thread."""
    window = (float(step["ts"]), float(step["ts"]) + float(step["dur"]))
    taken: list[Interval] = []
    found: dict[str, float] = {}
    for phase, names in _SPANS.items():
        parts = [_interval(span) for span in spans if _is(span, names)]
        if phase == "forward":
            parts += _to_backward(spans, window)
        mine = minus(clipped(union(parts), window), taken)
        found[phase] = total(mine)
        taken = union([*taken, *mine])
    return {**found, "other": window[1] - window[0] - total(taken)}


def operator_times(spans: Iterable[Event]) -> list[tuple[str, int, float]]:
    """Name, calls and own seconds (without the operators that it calls) of each operator, over all threads."""
    own: dict[str, list[float]] = {}
    stacks: dict[Any, list[tuple[float, str]]] = {}
    for span in sorted((s for s in spans if s.get("cat") == "cpu_op"), key=lambda s: (s["ts"], -s["dur"])):
        start, length, name = float(span["ts"]), float(span["dur"]), str(span["name"])
        stack = stacks.setdefault((span["pid"], span["tid"]), [])
        while stack and stack[-1][0] <= start:
            stack.pop()
        if stack:
            own[stack[-1][1]][1] -= length
        entry = own.setdefault(name, [0.0, 0.0])
        entry[0] += 1
        entry[1] += length
        stack.append((start + length, name))
    return [(name, int(calls), time / 1e6) for name, (calls, time) in own.items()]


def _not_ours(spans: Sequence[Event]) -> list[Event]:
    """The operators that the recorder does not call: those that begin outside of its spans."""
    ours: dict[Any, list[Interval]] = {}
    for span in spans:
        if _is(span, _SPANS["recorder"]):
            ours.setdefault((span["pid"], span["tid"]), []).append(_interval(span))
    merged = {thread: union(parts) for thread, parts in ours.items()}
    starts = {thread: [start for start, _ in parts] for thread, parts in merged.items()}

    def outside(span: Event) -> bool:
        thread = (span["pid"], span["tid"])
        place = bisect_right(starts.get(thread, []), float(span["ts"])) - 1
        return place < 0 or merged[thread][place][1] <= float(span["ts"])

    return [span for span in spans if span.get("cat") == "cpu_op" and outside(span)]


def _read(file: Path) -> tuple[list[dict[str, float]], list[Event]]:
    """The steps of a trace, and all spans within them."""
    try:
        events = json.loads(file.read_text(encoding="utf-8", errors="replace"), strict=False)["traceEvents"]
        spans = [event for event in events if event.get("ph") == "X"]
        marks = [s for s in spans if str(s["name"]).startswith(_STEP) and s.get("cat") == "user_annotation"]
        threads = {(mark["pid"], mark["tid"]) for mark in marks}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is not a trace of torch.profiler ({type(error).__name__}: {error})") from error
    mine = [span for span in spans if (span["pid"], span["tid"]) in threads]
    ends = [_interval(span)[1] for span in mine if str(span["name"]).startswith("Optimizer.step#")]
    # A program that ends early leaves a stretch behind its last step, which the profiler marks as a step too.
    whole = [m for m in sorted(marks, key=lambda m: m["ts"]) if any(m["ts"] < e <= _interval(m)[1] for e in ends)]
    return [_row(mark, mine) for mark in whole], _within(spans, whole)


def _row(mark: Event, spans: Sequence[Event]) -> dict[str, float]:
    """Seconds of the phases of one step."""
    start, end = _interval(mark)
    near = [span for span in spans if span["ts"] < end and span["ts"] + span["dur"] > start]
    times = {name: time / 1e6 for name, time in phases_of(near, mark).items()}
    number = int(str(mark["name"]).removeprefix(_STEP))
    return {"step": number, "seconds": float(mark["dur"]) / 1e6, **times}


def _within(spans: Sequence[Event], marks: Sequence[Event]) -> list[Event]:
    first = min((mark["ts"] for mark in marks), default=0)
    last = max((mark["ts"] + mark["dur"] for mark in marks), default=0)
    return [span for span in spans if first <= span["ts"] and span["ts"] + span["dur"] <= last]


def _to_backward(spans: Sequence[Event], window: Interval) -> list[Interval]:
    """From the first forward pass with gradients behind one backward pass to the beginning of the next."""
    starts = sorted(float(s["ts"]) for s in spans if s["name"] == _FORWARD)
    found = []
    free = window[0]
    for begin, end in union([_interval(s) for s in spans if _is(s, _SPANS["backward"])]):
        first = next((start for start in starts if free <= start < begin), None)
        if first is not None:
            found.append((first, begin))
        free = end
    return found


def _interval(span: Event) -> Interval:
    return float(span["ts"]), float(span["ts"]) + float(span["dur"])


def _is(span: Event, names: Sequence[str]) -> bool:
    return span.get("cat") in ("user_annotation", "cpu_op") and str(span["name"]).startswith(tuple(names))
