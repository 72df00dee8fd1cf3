"""Kept pairs on the embeddings page: pictures, captions as text, neighbours, colours, all steps as an animation."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from plotly.io.json import to_json_plotly

from edgeglass_dashboards.app import create_app, draw_page
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.jobs import Jobs
from edgeglass_dashboards.live import news
from edgeglass_dashboards.pair_pictures import picture_address, png
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.static import static_page
from edgeglass_dashboards.view import View
from edgeglass_diag.evaluation.neighbours import neighbours
from edgeglass_diag.evaluation.pairs import sample_pairs
from edgeglass_diag.pair_samples import PairSamples, Wording
from edgeglass_diag.store import load
from tests.helpers.browser import PLOT, eventually, has_text
from tests.helpers.dashboard_runs import figure_in, start, window
from tests.helpers.pictured_training import EVIL, PAIRS, train

PAGE = "/run/pictured?page=embeddings"
NOW = "&step=10"
CHOSEN = f"{PLOT.format('projection')}._fullData.find(({{ name }}) => name === 'chosen pair')"
PLACE = """pair => {
  const graph = document.querySelector("#projection .js-plotly-plot");
  const trace = graph._fullData.find(({ name }) => name === "image");
  const { xaxis, yaxis } = graph._fullLayout;
  const at = Array.from(trace.customdata).indexOf(pair);
  const box = graph.getBoundingClientRect();
  return [box.x + xaxis._offset + xaxis.l2p(trace.x[at]), box.y + yaxis._offset + yaxis.l2p(trace.y[at])];
}"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "pictured", steps=11)
    return folder


@pytest.fixture(scope="module")
def url(serve_once, root):
    return serve_once(root).url


def text(index, search, address="/run/pictured"):
    drawn = draw_page(index, {"address": address, "search": search})[0]
    return json.dumps(json.loads(to_json_plotly(drawn)), ensure_ascii=False)


def shown(open_page, url):
    page = open_page(f"{url}{PAGE}")
    eventually(page, f"({PLOT.format('projection')}?.data?.length ?? 0) > 3")
    return page


def found_in(root):
    with load(root / "pictured") as run:
        return neighbours(sample_pairs(*run.embeddings(10)))


@pytest.mark.browser
def test_a_point_shows_its_picture_and_its_caption_as_text_and_a_click_its_neighbours(root, url, open_page):
    page = shown(open_page, url)
    found = found_in(root)
    has_text(page, "#pair", "The worst pair; click a point for another")
    assert page.evaluate(f"{CHOSEN}.x.length") == 2

    x, y = page.evaluate(PLACE, 0)
    page.mouse.move(x, y)
    has_text(page, ".hoverlayer", "onerror")
    eventually(page, "document.getElementById('pair-hover').naturalWidth === 32")
    page.mouse.click(x, y)
    has_text(page, "#pair .pair-head", EVIL)
    assert page.url.endswith("&pair=0&step=10")  # what is chosen belongs to its step, whatever is kept later
    words = page.locator("#pair .pair-lists").inner_text()
    assert f"{found.nearest(0, 'image')[0][1]:.3f}" in words
    assert f"{found.nearest(0, 'text')[0][1]:.3f}" in words
    eventually(page, "[...document.querySelectorAll('#pair img')].every((one) => one.naturalWidth === 32)")
    assert page.evaluate("[window.evil ?? null, document.querySelectorAll('img[src=x], #pair b').length]") == [None, 0]

    page.mouse.move(x, y - 300)
    eventually(page, "document.getElementById('pair-hover').hidden")
    other = next(pair for pair, _ in found.nearest(0, "text") if pair)
    page.locator("#pair .pair-lists > div").nth(1).locator(f"a[href*='pair={other}']").first.click()
    has_text(page, "#pair", f"Cosine {found.similarity[other]:.3f}")
    assert f"pair={other}" in page.url
    page.get_by_label("Step").get_by_role("link", name="0", exact=True).click()
    has_text(page, "#pair", "The worst pair")


@pytest.mark.long
@pytest.mark.browser
def test_the_training_goes_through_its_steps_on_one_plane(root, url, open_page):
    page = open_page(f"{url}{PAGE}")
    graph = PLOT.format("training")
    eventually(page, f"({graph}?._transitionData?._frames?.length ?? 0) === 2")
    of = f"JSON.stringify([...{graph}._fullData[0].x])"
    bounds = f"JSON.stringify({graph}._fullLayout.xaxis.range)"
    last, before = page.evaluate(of), page.evaluate(bounds)
    page.locator("#training .updatemenu-button", has_text="Play").click()
    eventually(page, f"{of} !== {json.dumps(last)}")
    eventually(page, f"{of} === {json.dumps(last)}")  # it ends where it stood
    assert page.evaluate(bounds) == before
    page.locator("#training .slider-rail-touch-rect").click(position={"x": 4, "y": 4})
    eventually(page, f"{graph}._fullData[0].meta.pairs.step === 0")
    x, y = page.evaluate(PLACE.replace("#projection", "#training"), 0)
    page.mouse.move(x, y)
    has_text(page, "#training .hoverlayer", "onerror")
    eventually(page, "document.getElementById('pair-hover').naturalWidth === 32")
    page.mouse.click(x, y)
    has_text(page, "#pair .pair-head", EVIL)
    assert page.url.endswith("&pair=0&step=0")


def test_points_are_coloured_by_what_the_address_says(root):
    index = RunIndex(root)
    for name, title in (("similarity", "Cosine of the pair"), ("rank", "Rank of the partner"), ("hubness", "Hubness")):
        drawn = text(index, f"?page=embeddings{NOW}&color={name}")
        assert f'"colorbar": {{"title": {{"text": "{title}"' in drawn, name
    assert '"coloraxis"' not in text(index, f"?page=embeddings{NOW}&color=else")


class DoneBehind(Jobs):
    """Each result is there as soon as a page has been told that it is being made."""

    def get(self, key, make):
        known = key in self._jobs
        made = self.once(key, make)
        return made if known else None


def test_a_picture_that_is_done_while_its_page_is_drawn_appears_all_the_same(root):
    index = RunIndex(root)
    index.jobs = DoneBehind()
    first = draw_page(index, {"address": "/run/pictured", "search": "?page=embeddings"})[0]
    drawn = json.loads(to_json_plotly(first))
    live = drawn["props"]["children"][0]["props"]
    assert (live["id"], live["disabled"]) == ("live", False)
    cursor = Cursor.parse(drawn["props"]["data-cursor"])
    changes = dict(news(Context(index, View("embeddings")), cursor)["changes"])
    assert figure_in(json.loads(to_json_plotly(changes["training-panel"])))["frames"]
    assert changes["live"] == {"disabled": True}


def test_runs_that_begin_within_a_second_have_pictures_of_their_own():
    assert picture_address("a", 1, 1764341234.25) != picture_address("a", 1, 1764341234.5)


def test_pictures_are_served_as_they_were_kept(root):
    client = create_app(root).server.test_client()
    address = "/_picture/run/pictured?step=10&pair="
    with load(root / "pictured") as run:
        kept = run.samples(10).pictures
    answer = client.get(f"{address}5")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.data))), kept[5])
    for wrong in (f"{address}{PAIRS}", f"{address}-1", address, "/_picture/run/pictured?step=3&pair=0",
                  "/_picture/run/gone?step=10&pair=0", "/_picture/run/..?step=10&pair=0"):  # fmt: skip
        assert client.get(wrong).status_code == 404, wrong
    gray = kept[0][..., :1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(gray)))), gray[..., 0])


def test_a_static_page_has_captions_as_text_and_nothing_of_a_server(root):
    page = static_page(root / "pictured")
    assert EVIL not in page
    assert "&lt;img src=x onerror=" in page
    assert "/_picture" not in page
    assert 'alt="picture of pair' not in page
    assert "Click a point" not in page
    assert '"frames":[{' in page


def test_what_was_not_kept_is_said(tmp_path):
    rows = np.eye(6, dtype=np.float32)
    writer = start(tmp_path / "old")
    writer.write(window(0))
    writer.write_embeddings(0, rows, rows)
    writer.write_embeddings(1, rows, rows)
    four = PairSamples(np.zeros((4, 2, 2, 3), np.uint8), ("a",) * 4, Wording.IDS, "no pictures: x")
    writer.write_samples(1, four)
    writer.finish("finished", {})
    index = RunIndex(tmp_path)
    first = text(index, "?page=embeddings&step=0", "/run/old")
    assert "Neither pictures nor captions were kept of this step." in first
    assert "pair 3" in first
    second = text(index, "?page=embeddings&step=1", "/run/old")  # of another number of pairs
    assert "Neither pictures nor captions were kept of this step: no pictures: x." in second
    (tmp_path / "old" / "embeddings" / "samples-1.safetensors").write_bytes(b"broken")
    assert "old/embeddings/samples-1.safetensors cannot be read as samples" in text(
        RunIndex(tmp_path), "?page=embeddings&step=1", "/run/old"
    )
