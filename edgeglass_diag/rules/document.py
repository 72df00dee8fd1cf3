"""The rules in words: the page of one rule, and docs/rules.md with all of them."""

from __future__ import annotations

from collections.abc import Iterator

from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.catalogue import own_rules

FAMILIES = {
    "EG0": "Setup and initialisation", "EG1": "Attention", "EG2": "Optimisation", "EG3": "Embeddings", "EG4": "Loss",
    "EG5": "Data", "EG6": "Evaluation", "EG7": "Matryoshka heads", "EG8": "Numerics",
    "EG9": "The record itself",
}  # fmt: skip
_STAGES = {
    "init": "before the first step",
    "run": "in a run",
    "log": "in logged numbers",
    "record": "in the record itself",
    "ranks": "in the records of several ranks",
}
_PLACE = "the place found"


def rule_page(rule: type[Rule]) -> str:
    """Return one rule in full: what, why, formula, thresholds, source, fix, examples, and what can bring it."""
    head = f"{rule.code} {rule.name} ({rule.severity.value}): {rule.title}"
    facts = [f"{name}: {text}" for name, text in rule_facts(rule)]
    return "\n\n".join([head, rule.documentation(), *facts, *rule_examples(rule)])


def rules_document() -> str:
    """Return the page docs/rules.md: every rule of this package, in Markdown."""
    sections = [
        "# Rules",
        "Made of the rules' own text by `make docs`. A finding that follows from another is nested under it.",
    ]
    for family, title in FAMILIES.items():
        sections.append(f"## {family}xx: {title}")
        sections += [_section(rule) for rule in own_rules() if rule.code.startswith(family)]
    return "\n\n".join(sections) + "\n"


def _section(rule: type[Rule]) -> str:
    head = f"### {rule.code} {rule.name}\n\n**{rule.title}** (*{rule.severity.value}*). {rule.documentation()}"
    facts = [f"**{name}:** {text}" for name, text in rule_facts(rule)]
    return "\n\n".join([head, *facts, *(f"```\n{example}\n```" for example in rule_examples(rule))])


def rule_facts(rule: type[Rule]) -> Iterator[tuple[str, str]]:
    """Yield what is known of a rule, by its name."""
    thresholds = rule().thresholds
    yield "Looked for", ", ".join(_STAGES[stage] for stage in rule.stages)
    if rule.signals:
        yield "Signals", ", ".join(rule.signals)
    yield "Thresholds", ", ".join(f"{name} = {value:g}" for name, value in thresholds.items()) or "none"
    yield "Source", rule.source
    yield "Fix", rule.fix
    if rule.cures:
        yield "explain tries", ", ".join(cure.of_finding(_PLACE).words for cure in rule.cures)
    if rule.brought_by:
        yield "Can follow from", ", ".join(rule.brought_by)
    if rule.aliases:
        yield "Formerly", ", ".join(rule.aliases)


def rule_examples(rule: type[Rule]) -> Iterator[str]:
    """Yield its faulty and its healthy example, where it has some."""
    if rule.faulty:
        yield f"Faulty:  {rule.faulty}\nHealthy: {rule.healthy}"
