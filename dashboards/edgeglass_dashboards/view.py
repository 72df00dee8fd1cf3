"""What the address says besides the run: page, signal, site, step. The same address shows the same view again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

_MOST_RUNS = 6
_MOST_FIELDS = 64


@dataclass(frozen=True, slots=True)
class View:
    """A view of a run or of the runs; every part of it may be missing from the address.

    ``step`` None follows the newest. ``table`` shows heatmaps as tables as well. ``query`` and ``status`` filter the
    list of runs, ``runs`` are those compared (addresses' paths below the runs folder).
    """

    page: str = "overview"
    signal: str = ""
    site: str | None = None
    step: int | None = None
    table: bool = False
    query: str = ""
    status: str = ""
    runs: tuple[str, ...] = ()

    @classmethod
    def parse(cls, search: str) -> View:
        """The view of an address's query; what it does not know or cannot read is left out.

        >>> View.parse("?page=attention&site=a.b&step=30")
        View(page='attention', signal='', site='a.b', step=30, table=False, query='', status='', runs=())
        >>> View.parse("?step=soon").step
        """
        try:
            pairs = parse_qsl(
                search.removeprefix("?"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace"
            )
        except ValueError:  # more fields than a view has
            return cls()
        values = dict(pairs)
        step = values.get("step", "")
        return cls(
            page=values.get("page", "overview"),
            signal=values.get("signal", ""),
            site=values.get("site"),
            step=int(step) if step.isascii() and step.isdigit() and len(step) < 16 else None,
            table=values.get("table") == "1",
            query=values.get("query", ""),
            status=values.get("status", ""),
            runs=tuple(dict.fromkeys(value for key, value in pairs if key == "runs"))[:_MOST_RUNS],
        )

    def link(self, **changes: Any) -> str:
        """The address's query of this view with some parts changed.

        >>> View(page="attention", step=3).link(site="a b")
        '?page=attention&site=a+b&step=3'
        """
        values = asdict(replace(self, **changes))
        pairs = [
            (key, "1" if value is True else value)
            for key, value in values.items()
            if key != "runs" and value not in ("", None, False) and (key, value) != ("page", "overview")
        ]
        if values["site"] == "":
            pairs.append(("site", ""))
        pairs += [("runs", run) for run in values["runs"]]
        return "?" + urlencode(pairs)
