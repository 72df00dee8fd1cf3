"""The overlay of signals in a real browser: chosen, smoothed, zoomed, kept in the address, taken away as CSV."""

import csv
import io
import json

import pytest

from tests.dashboard.test_overlay_figure import write
from tests.helpers.browser import PLOT, eventually, has_text

pytestmark = pytest.mark.browser

SEARCH = "page=signals&show=loss/total&show=gradient/norm"
OVERLAY = PLOT.format("overlay")


@pytest.fixture(scope="module")
def url(serve_once, tmp_path_factory):
    root = tmp_path_factory.mktemp("signals")
    losses = [5.0 - step / 20 for step in range(80)]
    write(root / "one", [*losses[:40], float("nan"), *losses[41:]], lambda step, site: step + len(site))
    write(root / "other", losses, lambda step, site: 2.0 * step)
    return serve_once(root).url


def drawn(page, lines):
    eventually(page, f"({OVERLAY}?.data?.length ?? 0) === {3 * lines}")


def panel(page, number):
    return page.locator("#overlay .nsewdrag").nth(number).bounding_box()


def test_the_address_holds_what_is_chosen_smoothed_and_zoomed(url, open_page):
    page = open_page(f"{url}/run/one?{SEARCH}")
    drawn(page, 4)
    page.locator("#shown-sites").click()
    page.get_by_role("option", name="b", exact=True).click()
    drawn(page, 2)
    page.keyboard.press("Escape")
    page.locator("#overlay").scroll_into_view_if_needed()
    box = panel(page, 1)
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    eventually(page, f"{OVERLAY}._hoverdata?.length >= 2")
    assert (
        len({point["yaxis"] for point in page.evaluate(f"{OVERLAY}._hoverdata.map(p => ({{yaxis: p.yaxis._id}}))")})
        == 2
    )
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=4)
    page.mouse.up()
    eventually(page, "location.search.includes('span=')")
    has_text(page, "#overlay-words", "Steps ")
    page.get_by_role("switch", name="Log axis").press("Space")
    eventually(page, f"{OVERLAY}.layout.yaxis.type === 'log'")
    smoothing = page.get_by_role("slider", name="Smoothing")
    smoothing.focus()
    eventually(page, "document.activeElement.ariaLabel === 'Smoothing'")
    page.keyboard.press("End")
    eventually(page, "document.activeElement.ariaValueNow === '99'")
    has_text(page, "#overlay-words", "moving average of weight 0.99")
    kept = page.evaluate(f"[{OVERLAY}.data.map(t => [t.name, Array.from(t.x).length]), {OVERLAY}.layout.xaxis.range]")
    again = open_page(page.url)
    drawn(again, 2)
    assert (
        again.evaluate(f"[{OVERLAY}.data.map(t => [t.name, Array.from(t.x).length]), {OVERLAY}.layout.xaxis.range]")
        == kept
    )
    assert again.get_by_role("slider", name="Smoothing").get_attribute("aria-valuenow") == "99"
    again.get_by_role("link", name="all steps").click()
    eventually(again, "!location.search.includes('span=')")


def test_a_few_steps_are_labelled_at_whole_numbers_and_many_as_plotly_does(url, open_page):
    page = open_page(f"{url}/run/one?{SEARCH}&span=10:13")
    eventually(page, f"{OVERLAY}?._fullLayout?.xaxis?.range?.[1] <= 14 && {OVERLAY}._fullLayout.xaxis.dtick === 1")
    page.evaluate(f"Plotly.relayout({OVERLAY}, {{'xaxis.range': [0, 90]}})")
    eventually(page, f"{OVERLAY}._fullLayout.xaxis.tickmode === 'auto' && {OVERLAY}._fullLayout.xaxis.dtick > 1")


def test_runs_lie_over_one_another_and_the_csv_has_what_is_drawn(url, open_page):
    page = open_page(f"{url}/run/one?{SEARCH}&runs=other&sites=a")
    drawn(page, 4)
    has_text(page, "#lines tr", "1 NaN")
    shown = page.evaluate(f"JSON.stringify({OVERLAY}.data.map(t => [t.name, Array.from(t.x), Array.from(t.y)]))")
    answer = page.request.get(url + page.locator("#csv").get_attribute("href"))
    assert answer.headers["content-disposition"] == "attachment; filename=signals.csv"
    rows = list(csv.DictReader(io.StringIO(answer.text())))
    for name, steps, values in json.loads(shown)[::3]:
        run, of = name.split(" · ")[-1], [row for row in rows if row["signal"] == name.split(" · ")[0]]
        of = [row for row in of if row["run"] == run]
        assert [int(row["step"]) for row in of] == steps, name
        assert [None if row["value"] == "nan" else float(row["value"]) for row in of] == values, name
