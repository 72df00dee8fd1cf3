"""A finding as the body of a message to a webhook."""

from __future__ import annotations

from typing import Any

from edgeglass_diag.alerts.address import Form
from edgeglass_diag.plain_values import finding_summary
from edgeglass_diag.records import Finding

_DISCORD_LONGEST = 2000
"""Characters of a message of Discord: https://docs.discord.com/developers/resources/webhook#execute-webhook."""


def body(form: Form, finding: Finding, run: str) -> dict[str, Any]:
    """Return what is posted as JSON.

    The plain form has ``event``, ``text``, ``run`` and ``finding``, which is as ``findings --json`` prints it.

    Args:
        form: of the webhook.
        finding: that is told.
        run: name of the run.
    """
    match form:
        case Form.SLACK:
            return {"text": _escaped(text(finding, run))}
        case Form.DISCORD:
            return {"content": _shortened(text(finding, run)), "allowed_mentions": {"parse": []}}
        case Form.PLAIN:
            told = {"event": "finding", "text": text(finding, run), "run": run}
            return {**told, "finding": finding_summary(finding)}


def text(finding: Finding, run: str) -> str:
    """Return a finding in a few lines: how bad, which, in which run and when; the fault; what to do."""
    because = f" (because of {finding.because_of})" if finding.because_of else ""
    head = f"{finding.severity.upper()} {finding.code} {finding.name} in {run} at step {finding.step}{because}"
    fix = [f"Fix: {finding.fix}"] if finding.fix else []
    return "\n".join([head, finding.message, *fix])


def _escaped(words: str) -> str:
    """Return a text in which nothing is a link or a mention: https://docs.slack.dev/messaging/formatting-message-text."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shortened(words: str) -> str:
    return words if len(words) <= _DISCORD_LONGEST else f"{words[: _DISCORD_LONGEST - 1]}…"
