"""Behind a proxy: the path that the dashboard has there, with or without which a request may come in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from edgeglass_diag.records import UsageError

_PATH = re.compile(r"(/[A-Za-z0-9._~@%+-]+)*/?")
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def checked_base(path: str) -> str:
    """Return a path without its last slash; empty for the root.

    Raises:
        UsageError: when it does not begin with a slash, or has other characters than a path needs.

    >>> checked_base("/user/me/proxy/8050/"), checked_base("/")
    ('/user/me/proxy/8050', '')
    """
    if not path.startswith("/") or not _PATH.fullmatch(path) or ".." in path.split("/"):
        raise UsageError(f"--base-path: expected a path as /proxy/8050, got {path!r}")
    return path.rstrip("/")


def below(application: Wsgi, base: str) -> Wsgi:
    """Return an application that answers below ``base`` and, for proxies that leave it out, without it.

    Args:
        application: that answers at the root.
        base: the path, without a slash at its end.
    """

    decoded = unquote_to_bytes(base).decode("latin-1")  # as WSGI has paths

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == decoded and base:  # below which a relative way would lead beside it
            query = environ.get("QUERY_STRING", "")
            location = f"{base.rpartition('/')[2]}/{f'?{query}' if query else ''}"
            start_response("307 Temporary Redirect", [("Location", location), ("Content-Length", "0")])
            return []
        if path == decoded or path.startswith(f"{decoded}/"):
            environ = environ | {"PATH_INFO": path[len(decoded) :] or "/", "SCRIPT_NAME": decoded}
        return application(environ, start_response)

    return answer
