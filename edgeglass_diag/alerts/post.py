"""Post JSON to a webhook."""

from __future__ import annotations

import encodings.idna  # noqa: F401  imported by the first look-up otherwise: in a thread, a fork would cut that in two
import http.client
import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError

TIMEOUT = 5.0
"""Seconds without an answer after which a message counts as not delivered."""


class NotDeliveredError(Exception):
    """A message that did not arrive, and why, without anything of the address.

    Attributes:
        after: seconds after which the webhook takes messages again, None where it does not say so.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Followed, a POST would become a GET that delivers nothing."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(address: str, body: Mapping[str, Any]) -> None:
    """Post a body as JSON.

    Raises:
        NotDeliveredError: if there is no answer, or one that is no success.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "edgeglass-diag"}
    request = urllib.request.Request(address, json.dumps(body, allow_nan=False).encode(), headers, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
            answer.read(1)
    except HTTPError as error:
        with error:
            raise NotDeliveredError(f"HTTP status {error.code}", _seconds(error)) from None
    except URLError as error:
        raise NotDeliveredError(_said(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise NotDeliveredError(_said(error)) from None


def _seconds(error: HTTPError) -> float | None:
    """Return how long a webhook that was asked too often (429) wants to be left alone."""
    told = error.headers.get("Retry-After", "")
    return float(told) if error.code == 429 and told.replace(".", "", 1).isdecimal() else None


def _said(reason: object) -> str:
    """Return why, in the words of the system; of others only the kind, as they may repeat the address."""
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__
