"""The address of a webhook: what it may be, what of it is secret, and whose form it takes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import urlsplit

from edgeglass_diag.errors import UsageError


class Form(StrEnum):
    """What the body of a message looks like."""

    PLAIN = "plain"
    SLACK = "slack"
    DISCORD = "discord"


def check_address(address: str, option: str) -> str:
    """Return an address that can be posted to.

    Args:
        address: as given.
        option: name of the option, for messages.

    Raises:
        UsageError: if it is none of http or https, or has a user in it; the message repeats no more than ``masked``.
    """
    if not isinstance(address, str):
        raise UsageError(f"{option}: expected an http or https address, got {type(address).__name__}")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a host in brackets, or a port that is no number
        raise UsageError(f"{option}: expected an http or https address, got one that cannot be read") from None
    if not usable or not address.isascii() or not address.isprintable() or " " in address:
        raise UsageError(f"{option}: expected an http or https address, got {masked(address)!r}")
    if "@" in parts.netloc:
        raise UsageError(f"{option}: expected an address without user and password, got {masked(address)!r}")
    return address


def masked(address: str) -> str:
    """Return an address without what may be secret: user, path and query.

    Example:
        >>> masked("https://hooks.slack.com/services/T0/B0/x"), masked("http://me:pw@host:8080/?key=1")
        ('https://hooks.slack.com/...', 'http://host:8080/...')
    """
    parts = urlsplit(address)
    if not parts.netloc:
        return "..."
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/..."


def without_secret(words: Iterable[str], address: str | None) -> list[str]:
    """Return the words of a command line with an address in them masked.

    Example:
        >>> without_secret(["run", "--notify=https://host/key"], "https://host/key")
        ['run', '--notify=https://host/...']
    """
    return [word if address is None else word.replace(address, masked(address)) for word in words]


def form_of(address: str) -> Form:
    """Return whose form a webhook takes, by host and path.

    Slack's incoming webhooks, and Discord's, which take Slack's form where the path ends in ``/slack``.

    Example:
        >>> form_of("https://discord.com/api/webhooks/1/x"), form_of("https://discord.com/api/webhooks/1/x/slack")
        (<Form.DISCORD: 'discord'>, <Form.SLACK: 'slack'>)
    """
    parts = urlsplit(address)
    host, words = parts.hostname or "", [word for word in parts.path.split("/") if word]
    if host in ("hooks.slack.com", "hooks.slack-gov.com") and words[:1] == ["services"]:
        return Form.SLACK
    is_discord = any(host == own or host.endswith(f".{own}") for own in ("discord.com", "discordapp.com"))
    if is_discord and words[:1] == ["api"] and "webhooks" in words[1:3]:
        return Form.SLACK if words[-1] == "slack" else Form.DISCORD
    return Form.PLAIN
