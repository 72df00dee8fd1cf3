"""The picture of a kept pair as a file, and its address."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import flask

from edgeglass_dashboards.addresses import run_address
from edgeglass_dashboards.runs import RunIndex, reading
from edgeglass_diag.records import UsageError

_PICTURE = "/_picture"


def picture_address(path: str, step: int, created: float) -> str:
    """Return where the pictures of a step are, but for the pair's number at its end.

    >>> picture_address("a b", 20, 1.5)
    '/_picture/run/a%20b?step=20&of=1.5&pair='
    """
    return f"{_PICTURE}{run_address(path)}?step={step}&of={created!r}&pair="


def base() -> str:
    """Return the path that a proxy has put in front of the request that is answered, empty without."""
    return flask.request.script_root if flask.has_request_context() else ""


def add_picture_routes(server: flask.Flask, index: RunIndex) -> None:
    """Add ``/_picture/run/...?step=..&pair=..``."""

    def picture(path: str) -> flask.Response:
        step = flask.request.args.get("step", -1, type=int)
        pair = flask.request.args.get("pair", -1, type=int)
        try:
            with reading(index.root, path) as run:
                pictures = run.samples(step).pictures if step in run.embedding_steps() else ()
        except UsageError as error:
            flask.abort(404, str(error))
        if not 0 <= pair < len(pictures):
            flask.abort(404, "this pair has no picture")
        response = flask.Response(png(pictures[pair]), mimetype="image/png")
        response.headers["Cache-Control"] = "private, max-age=3600"
        return response

    server.add_url_rule(f"{_PICTURE}/run/<path:path>", "picture", picture)
    server.add_url_rule(f"{_PICTURE}/run/", "picture-of-folder", lambda: picture("."))


def png(picture: Any) -> bytes:
    """Return a picture, (height, width, 1 or 3) uint8, as PNG.

    Source: https://www.w3.org/TR/png-3/.
    """
    height, width, channels = picture.shape
    lines = b"".join(b"\0" + picture[row].tobytes() for row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
