"""One HTML file that holds everything: text, tables, figures and plotly.js. It asks no server for anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from edgeglass_diag.render.findings import evidence_texts, mark_text, sites_text
from edgeglass_diag.report.figures import Album, pack
from edgeglass_diag.report.render import small
from edgeglass_diag.report.report_run import Subject
from edgeglass_diag.report.sections import sections


def report_html(subjects: Sequence[Subject], comparison: Mapping[str, Any], *, made: datetime | None = None) -> str:
    """The report of one or several runs.

    plotly.js and the figures are gzipped (4.8 MB become 1.9 MB) and unpacked by the browser itself.

    Args:
        subjects: the runs.
        comparison: as ``compare --json`` prints it.
        made: when it was made; now where None.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("edgeglass_diag.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sites_text": sites_text, "evidence": evidence_texts}
    environment.filters |= {"mark_text": mark_text, "small": small}
    assets = {name: Markup(_asset(environment, name)) for name in ("report.css", "report.js")}  # our own files
    album = Album()
    content = sections(subjects, comparison, album)
    return environment.get_template("report.html").render(
        **content,
        css=assets["report.css"],
        script=assets["report.js"],
        plotly=pack(get_plotlyjs()),
        figures=album.packed(),
        made=(made or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        version=version("edgeglass-diag"),
    )


def _asset(environment: Any, name: str) -> str:
    return str(environment.loader.get_source(environment, name)[0])
