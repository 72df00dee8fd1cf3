"""None"""

import json
import re
import threading

import pytest

from edgeglass_diag.records import Finding, Severity
from tests.helpers.browser import PLOT, eventually, has_text
from tests.helpers.dashboard_runs import (
    AT_CHANCE,
    CHANCE,
    COLLAPSED,
    CONSTANT,
    start,
    window,
    write_collapsed,
    write_healthy,
)

pytestmark = pytest.mark.browser


def xs(page, graph="loss", trace=0):
    return page.evaluate(f"Array.from({PLOT.format(graph)}?.data?.[{trace}]?.x ?? [])")


def wait_for_points(page, count, graph="loss"):
    eventually(page, f"({PLOT.format(graph)}?.data?.[0]?.x?.length ?? 0) >= {count}")


def zoom(page, graph):
    """Draw a box from a fifth to three fifths of a figure's width; the range of steps after it."""
    box = page.locator(f"#{graph} .nsewdrag").first.bounding_box()
    before = page.evaluate(f"{PLOT.format(graph)}.layout.xaxis.range")
    page.mouse.move(box["x"] + box["width"] / 5, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 3 * box["width"] / 5, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    eventually(
        page, f"JSON.stringify({PLOT.format(graph)}.layout.xaxis.range) !== JSON.stringify({json.dumps(before)})"
    )
    after = page.evaluate(f"{PLOT.format(graph)}.layout.xaxis.range")
    assert before[0] < after[0] < after[1] < before[1]
    return after


def start_training(folder, fails, ends):
    """A training in a thread: six steps, then a fault, then the end, each when its event is set."""

    def train():
        writer = start(folder, total_steps=40)
        for number in range(6):
            writer.write(window(number, recall=1 / 512 if number % 2 else None))
        fails.wait(20)
        writer.write(window(20), [CONSTANT, AT_CHANCE])
        ends.wait(20)
        writer.write(window(39), COLLAPSED)
        writer.finish("finished", {"train_loss": CHANCE, "val_loss": CHANCE})

    thread = threading.Thread(target=train)
    thread.start()
    return thread


@pytest.fixture
def training(tmp_path):
    """Starts a training and gives the events that move it on; waits for its end."""
    fails, ends = threading.Event(), threading.Event()
    threads = []

    def begin():
        threads.append(start_training(tmp_path / "perceiver", fails, ends))
        return fails, ends

    yield begin
    fails.set()
    ends.set()
    for thread in threads:
        thread.join()


def test_a_live_run_appears_learns_and_fails_without_a_reload(serve, open_page, tmp_path, training):
    page = open_page(serve(tmp_path).url)
    has_text(page, "h1", "No runs yet")
    page.evaluate("window.sameDocument = true")
    fails, ends = training()
    has_text(page, "#verdict", "No findings so far: loss 4.85 is at chance 4.85")
    wait_for_points(page, 6)
    zoomed = zoom(page, "loss")
    fails.set()
    has_text(page, "#verdict", "Collapsed at step 20: constant embeddings")
    has_text(page, "#verdict-details", "the image embeddings are the same")
    has_text(page, "#findings", "Follows from EG301 (1 finding)")
    wait_for_points(page, 7)
    page.get_by_text("Evidence and fix of EG401").click()
    ends.set()
    has_text(page, "#progress", "finished")
    wait_for_points(page, 8)
    assert xs(page) == xs(page, trace=1) == [0, 1, 2, 3, 4, 5, 20, 39]
    assert page.evaluate(f"{PLOT.format('loss')}.layout.xaxis.range") == zoomed
    has_text(page, "#findings", "EG601")
    assert page.locator("#findings details[open]").count() == 1
    assert page.evaluate("document.activeElement.textContent") == "Evidence and fix of EG401"
    assert page.evaluate("window.sameDocument")
    has_text(page, "#counts", "3 warning")
    assert page.evaluate(f"{PLOT.format('loss')}.data.at(-1).text") == ["EG203", "EG301", "EG401", "EG601", "EG205"]


@pytest.mark.long
def test_pausing_holds_the_page_still(serve, open_page, tmp_path):
    writer = start(tmp_path / "x")
    for number in range(3):
        writer.write(window(number))
    page = open_page(serve(tmp_path).url)
    wait_for_points(page, 3)
    page.get_by_label("Update this page while the run goes on").press("Space")
    other = open_page(page.url)
    writer.write(window(3))
    wait_for_points(other, 4)  # a page that goes on has it by now
    assert xs(page) == [0, 1, 2]
    page.get_by_label("Update this page while the run goes on").press("Space")
    wait_for_points(page, 4)
    writer.finish("finished", {})


@pytest.mark.long
def test_a_lost_connection_is_told_and_mends_itself(serve, open_page, tmp_path):
    writer = start(tmp_path / "x")
    for number in range(3):
        writer.write(window(number))
    dashboard = serve(tmp_path)
    page = open_page(dashboard.url)
    wait_for_points(page, 3)
    dashboard.stop()
    has_text(page, "#connection", "Connection lost")
    writer.write(window(3))
    dashboard.start()
    wait_for_points(page, 4)
    eventually(page, "document.getElementById('connection').textContent === ''")
    writer.finish("finished", {})
    network = [text for text in open_page.complaints if text.startswith("Failed to load resource: net::ERR_")]
    assert network == open_page.complaints  # the browser's own lines about the server that was gone
    open_page.complaints.clear()


def test_deep_links_and_the_picker(serve, open_page, tmp_path):
    write_healthy(tmp_path / "incident" / "base line ü", steps=60)
    write_collapsed(tmp_path / "incident" / "perceiver")
    url = serve(tmp_path).url
    page = open_page(f"{url}/run/incident/base%20line%20%C3%BC")
    has_text(page, "h1", "base line ü")
    picker = page.get_by_label("Run to show").first
    assert picker.input_value() == "incident/base line ü"
    picker.click()
    page.get_by_role("option", name="incident/perceiver").click()
    has_text(page, "h1", "perceiver")
    assert page.url == f"{url}/run/incident/perceiver"
    assert page.title() == "✖ incident/perceiver - edgeglass-diag"
    page.go_back()
    has_text(page, "h1", "base line ü")
    page.goto(f"{url}/run/incident/%2e%2e/%2e%2e/etc")
    has_text(page, "h1", re.compile("No such page|cannot be shown"))


COLOURS = {"light": "#343a40", "dark": "#ced4da"}


@pytest.mark.long
def test_an_ended_run_in_every_width_and_scheme(serve, open_page, tmp_path):
    write_collapsed(tmp_path / "perceiver-with-a-very-long-name-that-has-to-be-broken-somewhere-on-a-phone")
    page = open_page(serve(tmp_path).url, width=390, scheme="dark")
    wait_for_points(page, 11)
    polls = []
    page.on("request", lambda request: polls.append(request.url) if "_live" in request.url else None)
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        eventually(page, f"document.documentElement.dataset.mantineColorScheme === '{scheme}'")
        eventually(page, f"{PLOT.format('loss')}._fullLayout.font.color === '{COLOURS[scheme]}'")
        for width in (390, 768, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            eventually(page, f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")
    for severity in ("critical", "warning", "info"):
        assert page.locator(f".badge.tone-{severity}", has_text=severity).first.locator(".icon").count() == 1
    assert polls == []
    walk_with_the_keyboard(page)


def walk_with_the_keyboard(page):
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent"))
    assert seen[0] == "Skip to the content"
    assert "Switch between dark and light" in seen
    assert "Evidence and fix of EG401" in seen


@pytest.mark.long
def test_the_scheme_is_switched_by_keyboard_and_remembered(serve, open_page, tmp_path):
    write_healthy(tmp_path / "baseline", steps=60)
    page = open_page(serve(tmp_path).url, scheme="light")
    wait_for_points(page, 6)
    page.get_by_role("button", name="Switch between dark and light").press("Enter")
    line = f"[{PLOT.format('loss')}._fullLayout.font.color, {PLOT.format('loss')}._fullData[0].line.color].join(' ')"
    eventually(page, f"{line} === '#ced4da #56B4E9'")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(line) == "#343a40 #0072B2"  # paper is light, and drawn at once
    eventually(page, f"{PLOT.format('loss')}._fullLayout.width <= 680")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    eventually(page, f"{line} === '#ced4da #56B4E9'")
    eventually(page, f"{PLOT.format('loss')}._fullLayout.width > 680")
    page.reload()
    wait_for_points(page, 6)
    assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == "dark"
    assert page.evaluate(f"{PLOT.format('loss')}._fullLayout.font.color") == "#ced4da"


def test_markup_is_shown_as_text(serve, open_page, tmp_path):
    text = "<img src=x onerror='window.injected=1'><b>bold</b>"
    writer = start(tmp_path / "x", name=text)
    writer.write(window(0), [Finding("EG999", text, Severity.CRITICAL, text, 0, text, {text: text}, text)])
    writer.finish("finished", {"train_loss": text})
    page = open_page(serve(tmp_path).url)
    has_text(page, "#findings", text)
    wait_for_points(page, 1)
    assert page.locator("img[src='x']").count() == 0
    assert page.evaluate("window.injected") is None


@pytest.mark.browser
def test_the_keyboard_arrives_at_the_content_of_a_page_and_its_tab_is_in_sight(serve, open_page, tmp_path):
    write_collapsed(tmp_path / "x")
    page = open_page(f"{serve(tmp_path).url}/run/x", width=390)
    page.locator(".finding-way").first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    eventually(page, "document.activeElement.id === 'page' && scrollY === 0")
    page.keyboard.press("g")
    page.keyboard.press("p")
    eventually(page, "document.querySelector('.tabs [aria-current]').textContent === 'Profile'")
    eventually(page, "document.querySelector('.tabs [aria-current]').getBoundingClientRect().right <= innerWidth")
