"""Summarise torch.profiler traces: seconds of each phase of a step, and the slowest operators. No torch."""

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
"""Prefixes of the names of ranges in which a program waits for data: torch's DataLoader, and a range of its own."""

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
    """Return the time of each phase of a step, over the traces of all processes.

    ``phases`` has for each of ``PHASES`` its mean seconds in a step and its share in [0, 1]; they add up to the step.
    Times are those of the training thread on the host: for asynchronous work on a device, the time to launch it. Where
    ranges overlap, time counts to the first of recorder, data wait, optimizer, backward and forward. ``forward``
    extends to the start of the backward pass and so includes the loss; ``recorder`` is the work of edgeglass-diag in
    that thread, whose operators are left out of ``operators``.

    Args:
        files: traces, ``*.pt.trace.json``.

    Returns:
        steps, step_seconds (mean), phases, per_step, operators, data_seen (whether there is a range of data loading).

    Raises:
        ValueError: for a file that is not a trace, or traces without a whole step.
    """
    steps: list[dict[str, float]] = []
    operators: dict[str, list[float]] = {}
    seen = False
    for file in files:
        rows, spans = _read(file)
        steps += rows
        seen = seen or any(_is(span, DATA) for span in spans)
        for name, calls, own in operator_times(_without_recorder(spans)):
            entry = operators.setdefault(name, [0.0, 0.0])
            entry[0] += calls
            entry[1] += own
    if not steps:
        raise ValueError(f"no whole optimizer step in {', '.join(map(str, files)) or 'no trace'}")
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
    """Return microseconds of each phase within the range of a step.

    Args:
        spans: events of the training thread.
        step: event of the step.
    """
    window = (float(step["ts"]), float(step["ts"]) + float(step["dur"]))
    taken: list[Interval] = []
    found: dict[str, float] = {}
    for phase, names in _SPANS.items():
        parts = [_interval(span) for span in spans if _is(span, names)]
        if phase == "forward":
            parts += _to_backward(spans, window)
        own = minus(clipped(union(parts), window), taken)
        found[phase] = total(own)
        taken = union([*taken, *own])
    return {**found, "other": window[1] - window[0] - total(taken)}


def operator_times(spans: Iterable[Event]) -> list[tuple[str, int, float]]:
    """Return (name, calls, self seconds) of each operator over all threads; self time excludes operators it calls."""
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


def _without_recorder(spans: Sequence[Event]) -> list[Event]:
    """Return the operators that begin outside of the recorder's ranges."""
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
    """Return the phases of each step of a trace, and all events within the steps."""
    try:
        events = json.loads(file.read_text(encoding="utf-8", errors="replace"), strict=False)["traceEvents"]
        spans = [event for event in events if event.get("ph") == "X"]
        marks = [s for s in spans if str(s["name"]).startswith(_STEP) and s.get("cat") == "user_annotation"]
        threads = {(mark["pid"], mark["tid"]) for mark in marks}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a trace of torch.profiler: {file} ({type(error).__name__}: {error})") from error
    in_thread = [span for span in spans if (span["pid"], span["tid"]) in threads]
    ends = [_interval(span)[1] for span in in_thread if str(span["name"]).startswith("Optimizer.step#")]
    # The profiler also marks the time between the last step and the end of the program as a step: drop it.
    whole = [m for m in sorted(marks, key=lambda m: m["ts"]) if any(m["ts"] < e <= _interval(m)[1] for e in ends)]
    return [_row(mark, in_thread) for mark in whole], _within(spans, whole)


def _row(mark: Event, spans: Sequence[Event]) -> dict[str, float]:
    """Return number and total seconds of a step, and the seconds of each of its phases."""
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
    """Return intervals from the first forward pass with gradients after a backward pass to the next backward pass."""
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
