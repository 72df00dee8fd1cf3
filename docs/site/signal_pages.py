"""A page for each signal of the registry, and the links from the table of all of them."""

from __future__ import annotations

import re

from edgeglass_diag.rules.catalogue import own_rules
from edgeglass_diag.signals.document import signal_range
from edgeglass_diag.signals.registry import registered
from edgeglass_diag.signals.signal import Components, Signal


def pages() -> dict[str, str]:
    """Return the page of each signal, by its path."""
    return {_path(signal): _text(signal) for signal in registered()}


def navigation() -> list[object]:
    """Return the signals by family, for the navigation."""
    families = sorted({signal.family for signal in registered()})
    return ["signals/index.md", *({each: [_path(s) for s in registered() if s.family == each]} for each in families)]


def index(markdown: str) -> str:
    """Return the page of all signals with a link at each."""
    known = {str(signal) for signal in registered()}

    def linked(found: re.Match[str]) -> str:
        return f"| [`{found[1]}`]({found[1]}.md) |" if found[1] in known else found[0]

    return re.sub(r"^\| `([^`]+)` \|", linked, markdown, flags=re.M)


def _path(signal: Signal) -> str:
    return f"signals/{signal}.md"


def _text(signal: Signal) -> str:
    up = "../" * (signal.count("/") + 1)
    rows = [f"| {name} | {text} |" for name, text in _facts(signal)]
    parts = [f"# {signal}", signal.sentence, "\n".join(["| | |", "| --- | --- |", *rows])]
    rules = [rule for rule in own_rules() if signal in rule.signals]
    if rules:
        links = [f"- [{rule.code} {rule.name}]({up}rules/{rule.code}.md): {rule.title}" for rule in rules]
        parts += ["## Rules that judge it", "\n".join(links)]
    parts += ["## Read it", f'```python\nimport edgeglass_diag as eg\n\neg.load("runs/mine").frame("{signal}")\n```']
    return "\n\n".join(parts) + "\n"


def _facts(signal: Signal) -> list[tuple[str, str]]:
    facts = [
        ("unit", "none" if signal.unit == "1" else signal.unit),
        ("range", signal_range(signal.low, signal.high)),
        ("within a window", f"{signal.reduction} of its occurrences"),
        ("components", "one number per head" if signal.components is Components.HEADS else "one number"),
        ("measured at", "the run: the whole model, an optimizer or a group" if signal.kind is None else signal.kind),
    ]
    if signal.former:
        facts.append(("former names", ", ".join(f"`{path}`" for path in signal.former)))
    if signal.usual is not None:
        bounds = signal_range(*(_bound(end, sign) for end, sign in ((signal.usual.low, -1), (signal.usual.high, 1))))
        facts.append(("usual", f"{bounds} ({signal.usual.source})"))
    return facts


def _bound(value: float | None, sign: int) -> float:
    return sign * float("inf") if value is None else value
