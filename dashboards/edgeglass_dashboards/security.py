"""Who may look: this machine alone, or who has the token; and strict headers for every answer."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import flask

from edgeglass_dashboards.addresses import own_address, seen_from

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PARAMETER = "token"


@dataclass(frozen=True, slots=True)
class Access:
    """Where the dashboard listens, and the token without which nothing is answered (None on loopback alone)."""

    host: str = "127.0.0.1"
    token: str | None = None
    base: str | None = None
    """The path in front of it behind a proxy (empty for the root), without a slash at its end; None without a proxy."""


def is_loopback(host: str) -> bool:
    """Whether an address to listen at can be reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_allowed_host(header: str, port: str, host: str = "127.0.0.1") -> bool:
    """Whether a Host header names this machine, as a page that rebinds its own name to it (DNS rebinding) cannot.

    On loopback these are its three names, at any port, as a forwarded one is another (``ssh -L 9000:localhost:8050``);
    elsewhere also the name that was asked for, this machine's own, and any address in digits, which no name server can
    rebind.

    >>> is_allowed_host("localhost:9000", "8050"), is_allowed_host("rebound.example:8050", "8050")
    (True, False)
    """
    name, number = _split(header.lower())
    if name in _LOOPBACK:
        return True
    if (number or "80") != port:
        return False
    if is_loopback(host):
        return False
    return name in {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()} or _is_address(name)


def protect(server: flask.Flask, script_hashes: Sequence[str], access: Access) -> None:
    """Refuse foreign hosts and those without the token with 403, and forbid the browser every other origin.

    Args:
        server: the Flask application behind the dashboard.
        script_hashes: the CSP hashes of the inline scripts that Dash itself writes.
        access: who may look.
    """
    policy = "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' {' '.join(script_hashes)}",
            "style-src 'self' 'unsafe-inline'",  # Mantine and plotly.js write style elements
            "img-src 'self' data: blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )

    def refuse_foreign_hosts() -> None:
        host = flask.request.headers.get("Host", "")
        if access.base is not None and access.token is not None:
            return  # a proxy has any name; nothing is told without the token
        if not is_allowed_host(host, flask.request.environ["SERVER_PORT"], access.host):
            flask.abort(403, "this dashboard does not answer under that name")

    def harden(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    server.before_request(refuse_foreign_hosts)
    if access.token is not None:
        _ask_for_token(server, access.token, access.base)
    server.after_request(harden)


def _ask_for_token(server: flask.Flask, token: str, base: str | None) -> None:
    """The token comes once in the address and stays in a cookie that no script and no other site can use."""

    def is_token(given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), token.encode())

    def refuse_strangers() -> flask.Response | None:
        name = f"edgeglass-{flask.request.environ['SERVER_PORT']}"  # cookies do not tell ports apart
        asked = flask.request.args
        if is_token(asked.get(_PARAMETER)):
            address = quote(flask.request.environ["PATH_INFO"].encode("latin-1"))
            place = own_address(address, flask.request.query_string.decode("utf-8", "replace"))
            location = place if base is None else seen_from(_below(base, address), place)
            answer = flask.Response(status=303, headers={"Location": location})
            answer.set_cookie(
                name, token, path=f"{base or ''}/", httponly=True, samesite="Strict", secure=_is_https(flask.request)
            )
            return answer
        if not is_token(flask.request.cookies.get(name)):
            flask.abort(403, "open the address with the token that 'edgeglass-diag dashboard' printed")
        return None

    server.before_request(refuse_strangers)


def _below(base: str, address: str) -> str:
    """The address of the request as the browser has it below the base: an encoded slash there is no slash."""
    raw = str(flask.request.environ.get("REQUEST_URI", "")).partition("?")[0]
    if not raw.startswith("/"):
        return address
    return "/" * (raw.count("/") - (base.count("/") if flask.request.script_root else 0))


def _is_https(request: flask.Request) -> bool:
    """Whether the browser speaks https, with this server or with the proxy before it."""
    return request.is_secure or request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip() == "https"


def _split(header: str) -> tuple[str, str]:
    """Name and port of a Host header."""
    if header.startswith("["):
        name, _, rest = header[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = header.partition(":")
    return name, port


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
