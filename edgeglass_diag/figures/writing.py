"""Figures as files: html that needs nothing, png and svg by a Chromium that is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.extras import extra

if TYPE_CHECKING:
    import plotly.graph_objects as go

FORMATS = ("html", "png", "svg")
_INSTALL = "install Chromium or Chrome (apt-get install chromium), or name one in BROWSER_PATH; html needs none"
SIZE = {"width": 840, "height": 560}
"""Pixels of a picture; a png has twice as many in each direction."""


def check_format(form: str) -> None:
    """Say at once whether figures can be written in a format.

    Raises:
        ValueError: for an unknown format, and where there is no browser that png and svg need.
    """
    if form not in FORMATS:
        raise ValueError(f"--format: expected one of {', '.join(FORMATS)}, got {form!r}")
    if form == "html":
        return
    with extra("figures", f"--format {form}"):
        from choreographer.browsers.chromium import Chromium

    browser = Chromium.find_browser(skip_local=False)
    if not browser or not Path(browser).exists():  # a path in BROWSER_PATH is taken as it is
        raise ValueError(f"--format {form} needs a browser: {_INSTALL}")


def write_figures(figures: Mapping[str, go.Figure], folder: Path, form: str) -> list[Path]:
    """Write each figure as ``NAME.FORM``; the html files share one plotly.min.js in the same folder.

    Args:
        figures: by name.
        folder: made if it is not there; files of the same names are replaced.
        form: one of ``FORMATS``.

    Raises:
        ValueError: when the folder cannot be written, or the browser that png and svg need does not draw.
    """
    check_format(form)
    paths = {name: folder / f"{name}.{form}" for name in figures}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if form == "html":
            for name, path in paths.items():
                figures[name].write_html(path, include_plotlyjs="directory", full_html=True)
        else:
            _draw(figures, paths, form)
    except OSError as error:
        raise ValueError(f"figures cannot be written to {folder}: {error.strerror or error}") from error
    return list(paths.values())


def _draw(figures: Mapping[str, go.Figure], paths: Mapping[str, Path], form: str) -> None:
    """All figures in one browser. MathJax, which kaleido would fetch from the internet, is not used."""
    with extra("figures", f"a picture as {form}"):
        import kaleido
        from choreographer.errors import BrowserClosedError, BrowserDepsError, BrowserFailedError

    options = {"format": form, "scale": 2 if form == "png" else 1, **SIZE}
    jobs = [{"fig": figure, "path": paths[name], "opts": options} for name, figure in figures.items()]
    try:
        kaleido.write_fig_from_object_sync(jobs, kopts={"mathjax": False})
    except (BrowserClosedError, BrowserDepsError, BrowserFailedError, TimeoutError) as error:
        raise ValueError(f"the browser did not draw ({type(error).__name__}): {_INSTALL}") from error
