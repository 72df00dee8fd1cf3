"""The Explain page in a real browser: verdict, causes, marks, replays and their losses."""

import json
from collections import Counter
from pathlib import Path

import axe_playwright_python
import pytest
from plotly.io.json import to_json_plotly

from edgeglass_dashboards.app import draw_page
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.static import static_page
from edgeglass_diag.marks import write_marks
from tests.helpers.browser import PLOT, eventually, has_text
from tests.helpers.dashboard_runs import write_healthy
from tests.helpers.explanations import BY, CURE, MAP_VERDICT, VERDICT, write_explained, write_mapped

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
PAGE = "/run/perceiver?page=explain"


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    root = tmp_path_factory.mktemp("explained") / "runs"
    write_explained(root)
    write_healthy(root / "baseline")
    return root


@pytest.fixture(scope="module")
def url(serve_once, explained):
    return serve_once(explained).url


def text(root, address, page="explain"):
    drawn = draw_page(RunIndex(root), {"address": address, "search": f"?page={page}"})[0]
    return json.dumps(json.loads(to_json_plotly(drawn)), ensure_ascii=False)  # which quotes each slash


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), pytest.param("dark", 390, marks=pytest.mark.long)])
def test_the_page_shows_the_verdict_first_and_all_replays(url, open_page, scheme, width):
    page = open_page(url + PAGE, scheme=scheme, width=width)
    has_text(page, "#explained", VERDICT)
    has_text(page, "#causes tr", "train.py:41")
    has_text(page, "#marks tr", BY)
    assert page.locator("#trials tbody tr").count() == 12
    eventually(page, f"({PLOT.format('curves')}?.data?.length ?? 0) === 21")
    assert not page.locator("#not-causes td").first.is_visible()
    page.locator("#not-causes summary").click()
    page.locator("#not-causes td").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE)
    violations = page.evaluate("axe.run()")["violations"]
    assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in violations] == []


@pytest.mark.browser
def test_a_replay_leads_to_its_run_and_its_run_to_the_explanation(url, open_page):
    page = open_page(url + PAGE)
    page.get_by_role("link", name=CURE, exact=True).first.click()
    page.locator("[data-page='/run/why/trials/learning-rate-x-0.1-0|overview']").wait_for()
    page.get_by_role("link", name="Explain", exact=True).click()
    has_text(page, "#explained", VERDICT)


@pytest.mark.browser
def test_findings_show_their_mark_and_lead_to_the_page(url, open_page):
    page = open_page(f"{url}/run/perceiver")
    has_text(page, "#findings .finding-mark", "refuted by replays: latents drawn anew do not cure (0/3)")
    has_text(page, "#findings .finding-mark", "not asked by any replay")
    page.get_by_role("link", name=f"confirmed by replays: {BY}").click()
    has_text(page, "#explained", VERDICT)


@pytest.mark.long
@pytest.mark.browser
def test_a_run_that_is_not_explained_has_the_tab_greyed_out_and_the_command(url, open_page, explained):
    page = open_page(f"{url}/run/baseline")
    page.locator(".tabs a.greyed", has_text="Explain").click()
    has_text(page, "#explained code", f"edgeglass-diag explain {explained / 'baseline'}")
    page.evaluate(AXE)
    assert [v["id"] for v in page.evaluate("axe.run()")["violations"]] == []


@pytest.mark.browser
def test_a_map_is_drawn_with_a_colour_and_a_sign_for_each_cell(serve_once, open_page, tmp_path):
    write_mapped(tmp_path / "runs")
    page = open_page(serve_once(tmp_path / "runs").url + PAGE)
    has_text(page, "#explained", MAP_VERDICT)
    eventually(page, f"({PLOT.format('map')}?.data?.filter(trace => trace.type === 'heatmap').length ?? 0) === 4")
    drawn = page.locator("#map .heatmap-label").all_text_contents()
    assert Counter(drawn) == {"● -30%": 3, "● -80%": 2, "▼ 0%": 2, "✗": 1}
    page.locator("#map-tables .effects-table").wait_for()
    assert not page.locator("#causes").is_visible()
    assert page.locator("#trials tbody tr").count() == 8
    page.evaluate(AXE)
    violations = page.evaluate("axe.run()")["violations"]
    assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in violations] == []


def test_it_is_asked_again_as_it_was_asked_of_the_run_wherever_it_lies_now(tmp_path):
    write_mapped(
        tmp_path / "before", again=["before/perceiver", "--map", "optim.lr=1e-3,0.1", "--set=-x", "--seeds", "1"]
    )
    (tmp_path / "before").rename(tmp_path / "my runs")
    asked = "--map optim.lr=1e-3,0.1 --set=-x --seeds 1"
    assert f"edgeglass-diag explain '{tmp_path / 'my runs' / 'perceiver'}' {asked}" in text(
        tmp_path / "my runs", "/run/perceiver"
    )
    replay = text(tmp_path / "my runs", "/run/map/trials/1e-3-0.02-none")  # which is none to be explained
    assert f"edgeglass-diag explain before/perceiver {asked}" in replay


def test_a_map_hides_no_earlier_explanation(tmp_path):
    root, before = tmp_path / "runs", tmp_path / "before"
    _, why = write_explained(before)
    earlier = (why / "explain.json").read_text(encoding="utf-8").replace(str(before), str(root))
    write_mapped(root)
    (root / "why" / "explain.json").write_text(earlier, encoding="utf-8")
    foreign = root / "foreign"
    foreign.mkdir()
    (foreign / "explain.json").write_text(earlier.replace("perceiver", "baseline"), encoding="utf-8")
    newest, chosen, unknown = (
        text(root, "/run/perceiver", page)
        for page in ("explain", "explain&explanation=..%2Fwhy", "explain&explanation=..%2Fforeign")
    )
    for shown in (newest, unknown):
        assert MAP_VERDICT in shown
        assert VERDICT not in shown
        assert "?page=explain&explanation=..%2Fwhy" in shown
        assert "..%2Fforeign" not in shown.replace("explanation=..%2Fforeign", "")
    assert VERDICT in chosen
    assert MAP_VERDICT not in chosen
    assert "Explanations, newest first" not in text(before, "/run/perceiver")


def test_what_cannot_be_shown_is_said_and_the_run_stays(tmp_path):
    root = tmp_path / "runs"
    run, out = write_explained(root)
    assert VERDICT in text(root, "/run/perceiver")
    (out / "explain.json").write_text("{")
    assert "why/explain.json:1: expected JSON" in text(root, "/run/perceiver")
    (run / "explained.json").write_text("{")
    assert "the findings are shown without the marks of their explanation" in text(root, "/run/perceiver")
    assert "perceiver" in text(root, "/run/perceiver", "overview")


def test_an_explanation_without_replays_is_shown(tmp_path):
    write_explained(tmp_path, trials=[], causes=[], not_causes=[], findings=[], verdict="Nothing could be replayed.")
    shown = text(tmp_path, "/run/perceiver")
    assert "Nothing could be replayed." in shown
    assert "No change was shown to be the cause." in shown


@pytest.mark.parametrize("place", ["../elsewhere", "why-link", "gone", "a\0b"])
def test_nothing_outside_of_the_folder_is_read(tmp_path, place):
    root = tmp_path / "runs"
    run, out = write_explained(root)
    out.rename(tmp_path / "elsewhere")
    (root / "why-link").symlink_to(tmp_path / "elsewhere")
    write_marks(run, [], str(out))
    kept = json.loads((run / "explained.json").read_text())
    (run / "explained.json").write_text(json.dumps(kept | {"explanation": f"../{place}"}))
    shown = text(root, "/run/perceiver")
    assert VERDICT not in shown
    assert "is not in the folder of this dashboard" in shown


def test_texts_stay_texts_and_the_static_page_has_the_explanation(tmp_path):
    evil = "<script>alert(1)</script>"
    run, _ = write_explained(tmp_path, verdict=evil)
    page = static_page(run)
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'href="/run' not in page
