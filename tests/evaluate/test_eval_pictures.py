"""What figures of an evaluation draw and say, in both themes and for input with nothing to see."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from edgeglass_diag.evaluation.embeddings import make_embeddings
from edgeglass_diag.evaluation.frames import curve_frame, density_frame, occurrence_frame, recall_frame, spectrum_frame
from edgeglass_diag.evaluation.pairs import sample_pairs
from edgeglass_diag.evaluation.pictures import curve_figure, projected_figure
from edgeglass_diag.evaluation.projection import project
from edgeglass_diag.evaluation.report import report
from edgeglass_diag.figures.embeddings import LINES, density_figure, hubness_figure, projection_figure, spectrum_figure
from edgeglass_diag.figures.retrieval import mrl_figure, recall_bars
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.figures.writing import check_format, write_figures

LIGHT = TEMPLATES["light"]


def both(count=60, width=32):
    drawn = np.random.default_rng(0)
    image = drawn.standard_normal((count, width)) * 0.9 ** np.arange(width)
    return image, image + 0.3 * drawn.standard_normal((count, width))


def texts_of(figure):
    return " ".join(note.text.replace("<br>", " ") for note in figure.layout.annotations)


@pytest.fixture(scope="module")
def result():
    return report(make_embeddings(*map(torch.from_numpy, both())), [32, 16, 8, 4, 2])


def test_a_projection_has_lines_from_image_to_caption():
    seen = project(sample_pairs(*both()), "pca")
    figure = projected_figure(seen, LIGHT)
    lines, image, text = figure.data
    assert (lines.name, image.name, text.name) == ("pairs", "image", "text")
    assert len(lines.x) == 3 * 60
    assert (lines.x[0], lines.y[0], lines.x[1], lines.y[1]) == (image.x[0], image.y[0], text.x[0], text.y[0])
    assert math.isnan(lines.x[2])
    assert "60 pairs" in texts_of(figure)
    assert figure.layout.yaxis.scaleanchor == "x"


def test_lines_are_thinned_and_labels_are_text():
    count = 3 * LINES
    points = pd.DataFrame(
        {"side": ["image"] * count + ["text"] * count, "pair": [*range(count)] * 2, "x": 0.0, "y": 1.0}
    )
    labels = pd.Series(["<b>dog</b>"] * count)
    lines, image, _ = projection_figure(points, LIGHT, labels=labels).data
    assert len(lines.x) == 3 * LINES
    assert image.text[0] == "&lt;b&gt;dog&lt;/b&gt;"


@pytest.mark.parametrize("theme", TEMPLATES)
def test_every_figure_takes_the_colours_of_its_theme(theme, result):
    template = TEMPLATES[theme]
    sample = sample_pairs(*both())
    for figure in (
        projected_figure(project(sample, "pca"), template),
        density_figure(density_frame(sample), template),
        spectrum_figure(spectrum_frame(sample), template),
        hubness_figure(occurrence_frame(sample), template),
        curve_figure(result, template),
        recall_bars(recall_frame(result), template),
    ):
        shades = {(t.line.color if t.type == "scatter" else None) or t.marker.color for t in figure.data}
        assert shades <= {*template.layout.colorway, template.layout.font.color}


def test_densities_say_means_and_separation_and_one_value_is_a_line():
    figure = density_figure(density_frame(sample_pairs(*both())), LIGHT)
    assert [trace.name.split(":")[0] for trace in figure.data] == ["pairs", "non-pairs"]
    assert "a pair is above a non-pair with probability 0.9" in texts_of(figure)
    spike = density_figure(density_frame(sample_pairs(np.ones((9, 4)), np.ones((9, 4)))), LIGHT)
    assert [trace.name for trace in spike.data] == ["pairs: all 1.000", "non-pairs: all 1.000"]
    assert list(spike.data[0].x) == [1, 1]


def test_the_curve_has_its_controls_knee_and_chance(result):
    figure = curve_figure(result, LIGHT)
    names = [trace.name for trace in figure.data]
    assert names[0] == "first dims"
    assert {"principal axes", "untrained truncation", "random dims", "int8 first dims", "binary first dims"} < set(
        names
    )
    knee = result["curve"]["knee"]["dims"]
    assert f"knee: {knee} dims, {32 / knee:.3g}x saved" in texts_of(figure)
    assert f"chance {1 / 60:.2g}" in texts_of(figure)
    assert list(figure.layout.xaxis.ticktext) == ["2<br>16x", "4<br>8x", "8<br>4x", "16<br>2x", "32<br>1x"]
    frame = curve_frame(result)
    row = frame[(frame["way"] == "prefix") & (frame["dims"] == 8)].iloc[0]
    assert row["mean"] == pytest.approx((result["mrl"]["8"]["i2t"]["R@1"] + result["mrl"]["8"]["t2i"]["R@1"]) / 2)
    alone = curve_frame({key: value for key, value in result.items() if key != "curve"})
    assert set(alone["way"]) == {"prefix"}


def test_names_of_runs_are_text_and_intervals_are_drawn(result):
    figure = recall_bars(recall_frame(result).assign(run="&lt;i&gt;"), LIGHT)
    assert [trace.name for trace in figure.data] == ["&lt;i&gt;", "chance"]
    low = result["ci95"]["i2t"]["R@1"][0]
    assert figure.data[0].error_y.arrayminus[0] == pytest.approx(result["i2t"]["R@1"] - low)


def test_nothing_to_see_is_texts_of():
    none = sample_pairs(np.ones((1, 3)) * np.nan, np.ones((1, 3)))
    assert "no pair with two finite sides" in texts_of(density_figure(density_frame(none), LIGHT))
    assert "every embedding is zero or not finite" in texts_of(spectrum_figure(spectrum_frame(none), LIGHT))
    assert "fewer than 2 pairs" in texts_of(hubness_figure(occurrence_frame(none), LIGHT))
    assert "no pair to show" in texts_of(projected_figure(project(none, "tsne"), LIGHT))
    assert "no widths" in texts_of(mrl_figure(pd.DataFrame(), LIGHT))
    assert "no recall" in texts_of(recall_bars(pd.DataFrame(), LIGHT))
    tied = hubness_figure(occurrence_frame(sample_pairs(np.ones((20, 3)), np.ones((20, 3)))), LIGHT)
    assert "all candidates tie" in texts_of(tied)


def test_png_and_svg_are_rendered_and_html_asks_no_server(tmp_path, result):
    figures = {"curve": curve_figure(result, LIGHT)}
    (png,) = write_figures(figures, tmp_path / "new" / "png", "png")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.stat().st_size > 20_000
    (svg,) = write_figures(figures, tmp_path, "svg")
    assert "knee: " in svg.read_text(encoding="utf-8")
    (html,) = write_figures(figures, tmp_path, "html")
    assert 'src="plotly.min.js"' in html.read_text(encoding="utf-8")
    assert (tmp_path / "plotly.min.js").is_file()


def test_a_missing_browser_raises_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"--format svg needs a browser: install Chromium .*; html needs none"):
        check_format("svg")
    check_format("html")
    with pytest.raises(ValueError, match="--format: expected one of html, png, svg, got 'gif'"):
        check_format("gif")
