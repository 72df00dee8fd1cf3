"""The picture of a map: ``python -m tests.benchmarks.map_picture docs/maps/incident.json docs/pictures/map.png``.

With ``--from OUT/explain.json --command '...'`` the first file is written before: the map that ``explain --map`` has
left, its verdict, and the command that made it.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from plotly.io import to_html

from edgeglass_diag.explained.map_tiles import map_figure
from edgeglass_diag.explained.map_words import effect_table, legend, line_table
from edgeglass_diag.explained.phase_map import KeptMap
from edgeglass_diag.figures.style import TEMPLATES
from tests.benchmarks.pictures import chromium, shrunk

WIDTH = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--from", dest="explained", type=Path)
    parser.add_argument("--command")
    options = parser.parse_args()
    if options.explained is not None:
        write(options.explained, options.command, options.data)
    content = json.loads(options.data.read_text(encoding="utf-8"))
    found = KeptMap.model_validate(content["map"])
    picture = drawn(map_figure(found, TEMPLATES["light"]))
    options.picture.write_bytes(picture)
    print(f"{options.picture}: {len(picture) // 1000} kB", file=sys.stderr)
    print(content["verdict"], legend(found), sep="\n")
    for title, columns, rows in (effect_table(found), line_table(found)):
        print("", title, markdown(columns, rows), sep="\n")


def write(explained, command, data):
    """Keep of an explanation what the picture needs, one cell a line."""
    content = json.loads(explained.read_text(encoding="utf-8"))
    kept = {"command": command, "verdict": content["verdict"], "steps": content["steps"]}
    kept |= {"trials": len(content["trials"]), "map": content["map"]}
    cells = content["map"].pop("cells")
    text = json.dumps(kept, indent=1)
    lines = ",\n".join(f"   {json.dumps(cell)}" for cell in cells)
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text(text.replace('"map": {\n', f'"map": {{\n  "cells": [\n{lines}\n  ],\n', 1) + "\n", encoding="utf-8")


def drawn(figure):
    """The figure as PNG."""
    height = int(figure.layout.height)
    page_text = to_html(figure.update_layout(width=WIDTH, paper_bgcolor="#ffffff"), include_plotlyjs=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "map.html"
        file.write_text(page_text, encoding="utf-8")
        browser = chromium(playwright)
        page = browser.new_page(viewport={"width": WIDTH, "height": height})
        page.goto(file.as_uri())
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        png = page.locator(".js-plotly-plot").screenshot()
        browser.close()
    return shrunk(png)


def markdown(columns, rows):
    """A table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows))


if __name__ == "__main__":
    main()
