"""What keeps the dashboard to this machine: the Host check against DNS rebinding, and strict headers."""

from __future__ import annotations

from collections.abc import Sequence

import flask

_HOSTS = ("127.0.0.1", "localhost", "[::1]")


def is_local_host(host: str, port: str) -> bool:
    """Whether a Host header names this machine and the port that is served.

    >>> is_local_host("127.0.0.1:8050", "8050"), is_local_host("rebound.example:8050", "8050")
    (True, False)
    """
    allowed = {f"{name}:{port}" for name in _HOSTS}
    if port == "80":
        allowed |= set(_HOSTS)
    return host.lower() in allowed


def protect(server: flask.Flask, script_hashes: Sequence[str]) -> None:
    """Refuse foreign hosts with 403 and forbid the browser every other origin.

    Args:
        server: the Flask application behind the dashboard.
        script_hashes: the CSP hashes of the inline scripts that Dash itself writes.
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
        if not is_local_host(host, flask.request.environ["SERVER_PORT"]):
            flask.abort(403, "this dashboard answers only on 127.0.0.1 and localhost")

    def harden(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    server.before_request(refuse_foreign_hosts)
    server.after_request(harden)
