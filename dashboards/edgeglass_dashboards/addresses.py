"""The addresses of the pages: which there are, and how one is built."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote_to_bytes

from edgeglass_dashboards.view import View

RUNS = "/runs"
COMPARE = "/compare"
CSV = "/_csv"
TRACE = "/_trace"
_RUN = "/run/"


def run_address(path: str) -> str:
    """Return the address of the run at ``path`` below the runs folder, ``.`` for the folder itself.

    >>> run_address("incident/a b"), run_address(".")
    ('/run/incident/a%20b', '/run/')
    """
    return _RUN + ("" if path == "." else quote(os.fsencode(path)))


def path_of(address: str) -> str | None:
    """Return the run's path that an address names, None for an address without a run.

    >>> path_of("/run/incident/a%20b"), path_of("/run/"), path_of("/")
    ('incident/a b', '.', None)
    """
    if not address.startswith(_RUN):
        return None
    return os.fsdecode(unquote_to_bytes(address.removeprefix(_RUN))).rstrip("/") or "."


def csv_address(path: str | None, view: View) -> str:
    """Return where the readings that a view draws are as CSV; ``path`` is None where the view names the runs.

    >>> csv_address("a", View(page="signals", log=True)), csv_address(None, View(runs=("a",)))
    ('/_csv/run/a?page=signals&log=1', '/_csv?runs=a')
    """
    return CSV + ("" if path is None else run_address(path)) + view.link().removesuffix("?")


def trace_address(path: str, file: str) -> str:
    """Return where a trace of a run is downloaded.

    >>> trace_address("a", "b c.json")
    '/_trace/run/a?file=b%20c.json'
    """
    return f"{TRACE}{run_address(path)}?file={quote(os.fsencode(file))}"


def own_address(address: str, query: str) -> str:
    """Return the address of the page that a request names, built anew: it cannot lead to another host.

    What is not an address of a page leads to the newest run, and what a view does not know is left out of the query.

    Args:
        address: the requested path, quoted as in an address.
        query: of the request.

    >>> own_address("/run/a%20b", "page=signal&next=//evil.example"), own_address("/%09/evil.example", "")
    ('/run/a%20b?page=signal', '/')
    """
    path = path_of(address)
    if path is not None and ".." not in path.split("/"):
        place = run_address(path)
    else:
        place = address if address in (RUNS, COMPARE) else "/"
    return place + View.parse(query).link().removesuffix("?")


def seen_from(address: str, place: str) -> str:
    """Return the way from one address to another: the same for each path that a proxy puts in front of both.

    A proxy that strips its path puts it in front of an absolute way, whether that has it already or not.

    >>> seen_from("/run/a/b", "/run/a/b?page=signal"), seen_from("/", "/")
    ('../../run/a/b?page=signal', './')
    """
    return ("../" * (address.count("/") - 1) or "./") + place.removeprefix("/")
