"""All pages of a run as one HTML file to send around: the same pages, without the server."""

from __future__ import annotations

import json
import os
import re
from html import escape
from pathlib import Path
from typing import Any

from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.jobs import JobsAtOnce
from edgeglass_dashboards.pages.catalogue import RUN_PAGES
from edgeglass_dashboards.pages.frame import changes_since
from edgeglass_dashboards.runs import RunIndex, reading
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.marks import read_explained
from edgeglass_diag.records import UsageError
from edgeglass_diag.store import find_runs

_ASSETS = Path(__file__).parent / "assets"
_TAGS = {"Title": "h2", "Paper": "div", "SimpleGrid": "div", "Group": "div", "Text": "p", "Progress": None,
         "Slider": None, "Interval": None, "Switch": None, "CopyButton": None, "MultiSelect": None}  # fmt: skip
_PICTURE = "data:image/png;base64,"
_VOID = {"br", "hr", "img"}
_SKIPPED = {"table-link", "picked", "history", "pair-card"}


def write(run: Path, out: Path) -> None:
    """Write the run at ``run`` to ``out``.

    Raises:
        UsageError: when it is no run, or ``out`` cannot be written.
    """
    found = find_runs(run) if run.is_dir() else []
    if run not in found:
        hint = f"; it holds {len(found)} runs, name one" if found else ""
        raise UsageError(f"--static: expected the folder of one run, got {run}{hint}")
    page = static_page(run)
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--static: cannot write {out} ({error.strerror or error})") from error


def static_page(folder: Path) -> str:
    """The HTML of all pages of a run, plotly.js and styles within it."""
    index, path = _index(folder)
    index.jobs = JobsAtOnce()
    figures: list[dict[str, Any]] = []
    sections = []
    with reading(index.root, path) as run:
        name = run.name
        for page in RUN_PAGES:
            context = Context(index, View(page=page.name), opened=run)
            changes, _ = changes_since(page, context, Cursor(".", "static", page.name))
            content = {key: properties["children"] for key, properties in changes if "children" in properties}
            body = _html(page.body(context, content), figures)
            sections.append(
                f'<section id="page-{page.name}"><h2 class="page-title">{escape(page.title)}</h2>'
                f'<p class="question">{escape(page.question)}</p>{body}</section>'
            )
    links = "".join(f'<li><a href="#page-{page.name}">{escape(page.title)}</a></li>' for page in RUN_PAGES)
    styles = "".join((_ASSETS / file).read_text(encoding="utf-8") for file in ("style.css", "icons.css", "static.css"))
    return _PAGE.format(
        title=escape(name),
        styles=styles,
        links=links,
        sections="".join(sections),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        figures=to_json_plotly(figures).replace("</", "<\\/"),
        templates=json.dumps({key: value.to_plotly_json() for key, value in TEMPLATES.items()}).replace("</", "<\\/"),
    )


def _index(folder: Path) -> tuple[RunIndex, str]:
    """The folder that holds the run and its explanation, and the run's path below it."""
    explanation = read_explained(folder).folder
    if explanation is None:
        return RunIndex(folder), "."
    place = folder.resolve()
    root = Path(os.path.commonpath([place, explanation]))
    return RunIndex(root), place.relative_to(root).as_posix()


def _html(node: Any, figures: list[dict[str, Any]]) -> str:
    """A component and what is in it as HTML; every text is escaped, figures are left for the script."""
    if node is None:
        return ""
    if isinstance(node, (list, tuple)):
        return "".join(_html(item, figures) for item in node)
    if hasattr(node, "to_plotly_json"):
        node = node.to_plotly_json()
    if not isinstance(node, dict):
        return escape(str(node))
    kind, values = str(node["type"]), node["props"]
    if "data-plain" in values:
        return _html(json.loads(values["data-plain"]), figures)
    if values.get("id") in _SKIPPED:
        return ""
    if kind == "Graph":
        figures.append(values["figure"])
        height = values["style"]["height"]
        return f'<div class="figure" data-figure="{len(figures) - 1}" style="height:{escape(height)}"></div>'
    if kind == "Img" and not str(values.get("src", "")).startswith(_PICTURE):
        return ""  # of a server
    tag = _TAGS.get(kind, kind.lower())
    if tag is None or values.get("className") in ("choices", "choices steps", "slider", "finder overlay-controls"):
        return ""
    return _element(tag, kind, values, figures)


def _element(tag: str, kind: str, values: dict[str, Any], figures: list[dict[str, Any]]) -> str:
    names = [str(values.get("className", ""))]
    names += {"Paper": ["paper"], "SimpleGrid": ["grid"]}.get(kind, [])
    if kind == "Title":
        tag = f"h{max(3, min(6, int(values.get('order', 2)) + 1))}"
    href = str(values.get("href", ""))
    if tag == "a" and href.startswith("?"):
        page = re.match(r"\?page=([a-z]+)", href)
        href = f"#page-{page[1] if page else 'overview'}"
    if tag == "a" and href.startswith("/"):  # to another run, which is not in the file
        tag = "span"
    attributes = {
        "class": " ".join(name for name in names if name),
        "href": href if tag == "a" else "",
        "scope": values.get("scope", ""),
        "style": _style(values.get("style")),
        "src": values.get("src", "") if tag == "img" else "",
        "alt": values.get("alt", ""),
        **{key: value for key, value in values.items() if key.startswith(("aria-", "data-label"))},
    }
    written = "".join(f' {key}="{escape(str(value))}"' for key, value in attributes.items() if value)
    inner = _html(values.get("children"), figures)
    return f"<{tag}{written}>" if tag in _VOID else f"<{tag}{written}>{inner}</{tag}>"


def _style(values: Any) -> str:
    """The drawn line of a tile, which is all that is styled in its place."""
    return f"--line: {values['--line']}" if isinstance(values, dict) and "--line" in values else ""


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:">
<title>{title} - edgeglass-diag</title>
<style>{styles}</style>
</head>
<body class="static">
<main class="overview"><header><h1>{title}</h1>
<nav class="tabs" aria-label="Pages of this run"><ul>{links}</ul></nav></header>{sections}</main>
<script>{plotly}</script>
<script type="application/json" id="figures">{figures}</script>
<script type="application/json" id="templates">{templates}</script>
<script>
(function () {{
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures"), templates = read("templates");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const template = () => templates[dark.matches && !window.matchMedia("print").matches ? "dark" : "light"];
  const graphs = document.querySelectorAll("[data-figure]");
  const draw = (graph) => {{
    const figure = figures[Number(graph.dataset.figure)];
    const layout = {{ ...figure.layout, template: template() }};
    Plotly.newPlot(graph, {{ ...figure, layout, config: {{ displaylogo: false, responsive: true }} }});
  }};
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {{
    if (entry.isIntersecting) {{ seen.unobserve(entry.target); draw(entry.target); }}
  }}), {{ rootMargin: "600px" }});
  graphs.forEach((graph) => seen.observe(graph));
  const restyle = () => graphs.forEach((graph) => graph.layout && Plotly.relayout(graph, {{ template: template() }}));
  dark.addEventListener("change", restyle);
  window.addEventListener("beforeprint", () => graphs.forEach((graph) => graph.layout || draw(graph)));
}})();
</script>
</body>
</html>
"""
