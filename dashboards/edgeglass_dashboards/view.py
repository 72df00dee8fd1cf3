"""What the address says besides the run: page, signal, site, step. The same address shows the same view again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

_MOST_RUNS = 6
_MOST_FIELDS = 128
_MOST_NAMES = 48


_DIGITS = 16
_MANY = ("runs", "show", "sites")
"""Fields of which the address may name several."""


@dataclass(frozen=True, slots=True)
class View:
    """A view of a run or of the runs; every part of it may be missing from the address.

    ``step`` None follows the newest. ``table`` shows heatmaps as tables as well. ``query`` and ``status`` filter the
    list of runs, ``runs`` are those compared (addresses' paths below the runs folder). ``show`` and ``sites`` are the
    signals that are overlaid and where; ``smooth`` is the weight of their moving average in percent, ``span`` the first
    and the last step that are looked at. ``ranks`` sets the processes of the run beside each other. ``pair`` is one of
    kept embeddings, ``color`` what their points are coloured by. ``explanation`` is the folder of one of the run's
    explanations, by its path from the run's; empty shows the newest.
    """

    page: str = "overview"
    signal: str = ""
    site: str | None = None
    step: int | None = None
    table: bool = False
    query: str = ""
    status: str = ""
    runs: tuple[str, ...] = ()
    show: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    smooth: int = 0
    log: bool = False
    ranks: bool = False
    span: tuple[int, int] | None = None
    pair: int | None = None
    color: str = ""
    explanation: str = ""

    @classmethod
    def parse(cls, search: str) -> View:
        """The view of an address's query; what it does not know or cannot read is left out.

        >>> view = View.parse("?page=attention&site=a.b&step=30")
        >>> view.page, view.site, view.step
        ('attention', 'a.b', 30)
        >>> View.parse("?show=loss/total&show=loss/chance&smooth=60&span=10:90").link()
        '?smooth=60&span=10%3A90&show=loss%2Ftotal&show=loss%2Fchance'
        >>> View.parse("?step=soon").step
        """
        try:
            pairs = parse_qsl(
                search.removeprefix("?"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace"
            )
        except ValueError:  # more fields than a view has
            return cls()
        values = dict(pairs)
        return cls(
            page=values.get("page", "overview"),
            signal=values.get("signal", ""),
            site=values.get("site"),
            step=_number(values.get("step", "")),
            table=values.get("table") == "1",
            query=values.get("query", ""),
            status=values.get("status", ""),
            runs=_all(pairs, "runs")[:_MOST_RUNS],
            show=_all(pairs, "show")[:_MOST_NAMES],
            sites=_all(pairs, "sites")[:_MOST_NAMES],
            smooth=min(99, _number(values.get("smooth", "")) or 0),
            log=values.get("log") == "1",
            ranks=values.get("ranks") == "1",
            span=_span(values.get("span", "")),
            pair=_number(values.get("pair", "")),
            color=values.get("color", ""),
            explanation=values.get("explanation", ""),
        )

    def link(self, **changes: Any) -> str:
        """The address's query of this view with some parts changed.

        >>> View(page="attention", step=3).link(site="a b")
        '?page=attention&site=a+b&step=3'
        """
        values, usual = asdict(replace(self, **changes)), asdict(View())
        pairs = [
            (key, "1" if value is True else ":".join(map(str, value)) if key == "span" else value)
            for key, value in values.items()
            if key not in _MANY and value not in ("", None) and value != usual[key]
        ]
        if values["site"] == "":
            pairs.append(("site", ""))
        pairs += [(key, value) for key in _MANY for value in values[key]]
        return "?" + urlencode(pairs)


def _all(pairs: list[tuple[str, str]], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for key, value in pairs if key == name))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None


def _span(text: str) -> tuple[int, int] | None:
    first, last = map(_number, (*text.split(":", 1), "")[:2])
    return (first, last) if first is not None and last is not None and first < last else None
