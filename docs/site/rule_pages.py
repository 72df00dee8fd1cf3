"""A page for each rule, and for each conclusion of the audit; the table of all of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from edgeglass_diag.auditing.catalogue import CONCLUSIONS
from edgeglass_diag.auditing.conclusion import Conclusion
from edgeglass_diag.catalogue import judged, judged_text
from edgeglass_diag.rules import Rule
from edgeglass_diag.rules.catalogue import own_rules
from edgeglass_diag.rules.document import FAMILIES, rule_examples, rule_facts

HOWTO = Path(__file__).parents[1] / "howto"
LEFT_OUT = ("Signals", "Thresholds", "Fix", "Can follow from", "Source")


@cache
def codes() -> frozenset[str]:
    """Return all codes that have a page."""
    return frozenset([*(rule.code for rule in own_rules()), *(one.code for one in CONCLUSIONS)])


def pages() -> dict[str, str]:
    """Return the page of each code, by its path."""
    rules = {f"rules/{rule.code}.md": rule_text(rule) for rule in own_rules()}
    audited = {f"rules/{one.code}.md": conclusion_text(one) for one in CONCLUSIONS if one.code not in _rule_codes()}
    return {**rules, **audited}


def navigation() -> list[object]:
    """Return the rules by family, for the navigation."""
    families: list[object] = ["rules/index.md"]
    for family, title in FAMILIES.items():
        families.append({title: [f"rules/{code}.md" for code in sorted(codes()) if code.startswith(family)]})
    return families


def index(_: str) -> str:
    """Return the table of all rules in place of the long page of the repository."""
    lines = [
        "# Rules",
        f"{len(own_rules())} rules, and the conclusions that `edgeglass-diag audit` alone draws from logged numbers. "
        "`edgeglass-diag rules CODE` prints the same text. A finding that follows from another is nested under it.",
    ]
    for family, title in FAMILIES.items():
        rows = [*_rows(family)]
        head = "| code | name | severity | what |\n| --- | --- | --- | --- |"
        lines += [f"## {family}xx: {title}", "\n".join([head, *(row for _, row in sorted(rows))])]
    return "\n\n".join(lines) + "\n"


def _rows(family: str) -> list[tuple[str, str]]:
    rules = [(rule.code, rule.name, rule.severity.value, rule.summary()) for rule in own_rules()]
    known = _rule_codes()
    audited = [
        (one.code, one.name, one.severity.value, f"{one.summary} (audit)")
        for one in CONCLUSIONS
        if one.code not in known
    ]
    return [
        (code, f"| [{code}]({code}.md) | {name} | {severity} | {_cell(text)} |")
        for code, name, severity, text in [*rules, *audited]
        if code.startswith(family)
    ]


def rule_text(rule: type[Rule]) -> str:
    """Return the page of a rule in Markdown."""
    facts = dict(rule_facts(rule))
    text = re.sub(r"^(Why|Formula):", r"**\1:**", _plain(rule.documentation()), flags=re.M)
    parts = [f"# {rule.code} {rule.name}", f"**{rule.title}** (*{rule.severity.value}*). {text}"]
    parts += ["## What to change", _plain(rule.fix)]
    parts += [f"```\n{example}\n```" for example in rule_examples(rule)]
    parts += _thresholds(rule)
    parts += ["## Where the numbers come from", _plain(rule.source)]
    parts += [f"**{name}:** {_plain(text)}" for name, text in facts.items() if name not in LEFT_OUT]
    if rule.signals:
        parts.append("**Signals:** " + ", ".join(f"[`{path}`](../signals/{path}.md)" for path in rule.signals))
    parts += _neighbours(rule)
    return "\n\n".join([*parts, *_howtos(rule.code), *_exam(rule.code)]) + "\n"


def _thresholds(rule: type[Rule]) -> list[str]:
    values = rule().thresholds
    if not values:
        return []
    rows = "\n".join(f"| `{name}` | {value:g} |" for name, value in values.items())
    name, value = next(iter(values.items()))
    return [
        "## Thresholds",
        f"| name | default |\n| --- | --- |\n{rows}",
        f"For one run: `--threshold {rule.code}.{name}={value:g}`; for a project, in `pyproject.toml`:",
        f"```toml\n[tool.edgeglass-diag.{rule.code}]\n{name} = {value:g}\n```",
    ]


def _neighbours(rule: type[Rule]) -> list[str]:
    brings = [other.code for other in own_rules() if rule.code in other.brought_by]
    sides = {"Can follow from": [*rule.brought_by], "Can bring": brings}
    return [f"**{name}:** {', '.join(_linked(code) for code in found)}" for name, found in sides.items() if found]


def _howtos(code: str) -> list[str]:
    """Return the links to the how-to pages that name a code."""
    found = [path for path in sorted(HOWTO.glob("*.md")) if path.name != "index.md" and code in path.read_text()]
    links = [f"[{title(path)}](../howto/{path.name})" for path in found]
    return ["**How-to:** " + ", ".join(links)] if links else []


def title(path: Path) -> str:
    """Return the first heading of a page."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _exam(code: str) -> list[str]:
    known = judged().get(code)
    return [] if known is None else [f"**Judged in [the exam](../exam.md):** {judged_text(known)}."]


def conclusion_text(one: Conclusion) -> str:
    """Return the page of a conclusion of the audit in Markdown."""
    parts = [
        f"# {one.code} {one.name}",
        f"**{one.title}** (*{one.severity.value}*). {_plain(one.summary)}",
        "Concluded by [`edgeglass-diag audit`](../audit.md) alone, from logged numbers.",
        "## What to change",
        _plain(one.fix),
        *(["## Where the numbers come from", _plain(one.source)] if one.source else []),
    ]
    return "\n\n".join([*parts, *_howtos(one.code)]) + "\n"


@cache
def _rule_codes() -> frozenset[str]:
    return frozenset(rule.code for rule in own_rules())


def _linked(code: str) -> str:
    return f"[{code}]({code}.md)" if code in codes() else code


def _plain(text: str) -> str:
    """Return a rule's text for Markdown: nothing in it is a tag or an emphasis.

    >>> _plain("a < b, x <name> of ``zeros_``, 2 * 3 * 4")
    'a < b, x &lt;name> of ``zeros_``, 2 \\\\* 3 \\\\* 4'
    """
    parts = re.split(r"(`+[^`]*`+)", text)
    plain = [re.sub(r"<(?=[A-Za-z/!])", "&lt;", part).replace("*", "\\*") for part in parts[::2]]
    parts[::2] = [re.sub(r"(?<!\S)(https?://[^\s,;)]+)", r"<\1>", part) for part in plain]
    return "".join(parts)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")
