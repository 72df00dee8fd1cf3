"""Every page in a real browser: beside a training while it runs, and afterwards."""

import re
import signal
from pathlib import Path

import axe_playwright_python
import pytest

from tests.helpers.browser import PLOT, eventually, has_text
from tests.helpers.dashboard_runs import write_collapsed, write_healthy
from tests.helpers.tiny_training import train_until

pytestmark = pytest.mark.browser

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
PAGES = {
    "All signals": "overlay",
    "Attention": "heat",
    "Gradients & updates": "heat",
    "Signal": "profile",
    "Embeddings": "projection",
    "Retrieval & MRL": "recall",
    "Overview": "loss",
}


class Training:
    """The tiny training in a process of its own."""

    def __init__(self, server, folder):
        self.run, self._stop = folder / "runs" / "tiny", folder / "stop"
        self._copy = server.start(train_until, str(self.run), str(self._stop), place=folder)

    def end(self):
        self._stop.touch()
        assert self._copy.wait() == 0

    def kill(self):
        self._copy.send_signal(signal.SIGKILL)
        self._copy.wait()


@pytest.fixture(scope="module")
def training(tmp_path_factory, command_server):
    started = Training(command_server, tmp_path_factory.mktemp("live"))
    yield started
    started.kill()


@pytest.fixture(scope="module")
def url(serve_once, training):
    """One dashboard beside the training for all tests."""
    return serve_once(training.run.parent).url


def go(page, place):
    """To another address as a link leads there, without loading the document again."""
    page.evaluate(
        "place => { history.pushState({}, '', place); dispatchEvent(new CustomEvent('_dashprivate_pushstate')); }",
        place,
    )
    address, _, name = place.partition("?page=")
    name, _, more = name.partition("&")
    key = f"{address}|{name or 'overview'}" if address.startswith("/run/") else address
    key += f"|{more.removeprefix('site=')}" if name == "site" else ""
    page.locator(f"[data-page='{key}']").wait_for()
    eventually(
        page, "[...document.querySelectorAll('[data-page] .dash-graph')].every(g => g.querySelector('.main-svg'))"
    )


def drawn(page, graph):
    eventually(page, f"({PLOT.format(graph)}?.data?.length ?? 0) > 0")


def columns(page):
    return page.evaluate(f"{PLOT.format('heat')}._fullData[0].x.length")


@pytest.mark.long
def test_each_page_shows_a_training_while_it_runs(url, open_page, training):
    page = open_page(url)
    page.locator("h1", has_text="tiny").wait_for()
    for title, graph in PAGES.items():
        page.get_by_role("link", name=title, exact=True).click()
        page.locator(".tabs a[aria-current=page]", has_text=title).wait_for()
        drawn(page, graph)
    page.get_by_role("link", name="Coverage", exact=True).click()
    has_text(page, "#answer", "places were observed")
    page.get_by_role("link", name="Signal", exact=True).click()
    has_text(page, "#answer", "EG301")
    grows_and_keeps_its_zoom(page)
    training.end()
    has_text(page, ".run-name + div, header", "Ended")


def grows_and_keeps_its_zoom(page):
    page.get_by_role("link", name="Attention", exact=True).click()
    has_text(page, "#scale-words", "Entropy")
    drawn(page, "heat")
    page.evaluate(f"Plotly.relayout({PLOT.format('heat')}, {{'xaxis.range': [2, 9]}})")
    before = columns(page)
    eventually(page, f"{PLOT.format('heat')}._fullData[0].x.length > {before}")
    assert page.evaluate(f"{PLOT.format('heat')}.layout.xaxis.range") == [2, 9]
    x, z = (page.evaluate(f"Array.from({PLOT.format('heat')}._fullData[0].{part})") for part in ("x", "z[0]"))
    assert x == sorted(set(x))
    assert len(z) == len(x)


def click_cell(page, graph="heat"):
    """Click into the middle of the picture."""
    box = page.locator(f"#{graph} .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    eventually(page, f"{PLOT.format(graph)}._hoverdata?.length > 0")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)


def test_a_click_on_a_cell_opens_its_heads_and_the_address_shows_them_again(url, open_page):
    page = open_page(f"{url}/run/tiny?page=attention&signal=attention/top1")
    drawn(page, "heat")
    has_text(page, "#picked", "Pick a cell")
    page.evaluate("window.sameDocument = true")
    click_cell(page)
    drawn(page, "heads")
    assert "site=image_pool" in page.url
    assert re.search(r"step=\d+", page.url)
    assert page.evaluate(f"{PLOT.format('heads')}.data.length") == 4
    page.get_by_role("link", name="Logit std").click()
    has_text(page, "#scale-words", "Logit std")
    has_text(page, "#picked", "Logit std")
    assert page.evaluate("window.sameDocument")
    again = open_page(page.url, scheme="dark")
    drawn(again, "heads")
    has_text(again, ".choices a[aria-current]", "Logit std")
    page.get_by_role("link", name="Show as a table").click()
    page.get_by_role("row", name=re.compile("image_pool")).wait_for()
    page.get_by_role("link", name="Close").click()
    has_text(page, "#picked", "Pick a cell")


def test_the_slider_looks_at_an_earlier_step(url, open_page):
    page = open_page(f"{url}/run/tiny?page=signal&step=5")
    has_text(page, "#step-words", "Step 5.")
    drawn(page, "profile")
    thumb = page.get_by_role("slider").first
    slider = "document.querySelector('main [role=slider]')"
    eventually(page, f"Number({slider}.ariaValueMax) > 6")  # the end of the slider means the newest step
    thumb.focus()
    eventually(page, f"document.activeElement === {slider}")
    page.keyboard.press("ArrowRight")
    eventually(page, f"{slider}.ariaValueNow === '6'")
    has_text(page, "#step-words", "Step 6.")
    assert "step=6" in page.url
    page.get_by_role("link", name="Back to the newest").click()
    has_text(page, "#step-words", "the newest")


@pytest.mark.long
def test_tsne_appears_by_itself(url, open_page):
    page = open_page(f"{url}/run/tiny?page=embeddings&signal=tsne&step=0")
    has_text(page, ".choices a[aria-current]", "t-SNE")
    page.locator("#projection .js-plotly-plot").wait_for()
    drawn(page, "projection")


RUN = "/run/tiny?page="
PLACES = [
    f"{RUN}attention&table=1", f"{RUN}signal", f"{RUN}embeddings", "/run/ill", "/runs", "/compare",
    f"{RUN}signals&show=loss/total&show=gradient/norm&smooth=60", f"{RUN}attribution", f"{RUN}profile",
    f"{RUN}gradients", f"{RUN}retrieval", f"{RUN}coverage", f"{RUN}site", f"{RUN}site&site=image_pool",
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "places"), [("light", PLACES), ("dark", PLACES[:2])])
def test_every_page_is_accessible(url, open_page, training, scheme, places):
    if not (training.run.parent / "ill").exists():
        write_collapsed(training.run.parent / "ill")
    page = open_page(f"{url}/run/tiny", scheme=scheme)
    page.evaluate(AXE)
    for place in places:
        go(page, place)
        violations = page.evaluate("axe.run()")["violations"]
        assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in violations] == [], place


def test_every_page_fits_a_phone(url, open_page):
    page = open_page(f"{url}/run/tiny", width=390)
    overlay = "signals&show=loss/total&show=gradient/norm"
    for name in ("overview", "attention&table=1", "gradients", "signal", "coverage", "site&site=image_pool", overlay):
        go(page, f"{RUN}{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


def test_the_list_of_runs_is_searched_and_leads_to_them(serve, open_page, tmp_path):
    write_healthy(tmp_path / "good", steps=60)
    write_collapsed(tmp_path / "bad")
    url = serve(tmp_path).url
    page = open_page(f"{url}/runs")
    has_text(page, "#runs-table caption", "2 runs")
    page.get_by_label("Search").fill("goo")
    has_text(page, "#runs-table caption", "1 run,")
    assert "query=goo" in page.url
    page.get_by_label("Search").fill("")
    page.get_by_role("link", name="failed 1").click()
    has_text(page, "#runs-table caption", "1 run,")
    page.get_by_role("link", name="bad", exact=True).click()
    has_text(page, "#verdict", "Collapsed at step 20")
    page.locator("#findings").get_by_role("link", name="EG301").click()
    page.locator(".tabs a[aria-current=page]", has_text="Signal").wait_for()
    has_text(page, "#answer", "constant-embeddings")


def test_runs_are_compared_and_the_choice_is_an_address(serve, open_page, tmp_path):
    write_healthy(tmp_path / "good", steps=60)
    write_collapsed(tmp_path / "bad")
    url = serve(tmp_path).url
    page = open_page(f"{url}/compare?runs=good&runs=bad")
    has_text(page, "#parting", "They part at step")
    drawn(page, "overlay")
    has_text(page, "#partings caption, #partings p", "First ")
    page.locator("#partings").get_by_role("link", name="loss/total").click()
    has_text(page, "#overlay-words", "2 lines")
    assert "show=loss%2Ftotal" in page.url
    page.get_by_role("button", name=re.compile("Remove|Clear")).first.or_(
        page.locator(".mantine-Pill-remove").first
    ).click()
    has_text(page, "#parting", "Choose at least two runs")
    assert page.url.endswith("/compare?show=loss%2Ftotal&runs=bad")
