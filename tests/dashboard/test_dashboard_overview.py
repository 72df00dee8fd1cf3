"""The first screen of a run: its answers, where they lead, and how they come in while the run goes on."""

import re
from itertools import pairwise

import pytest

from edgeglass_dashboards import app
from edgeglass_dashboards.base_path import checked_base
from edgeglass_dashboards.model_states import states_of
from edgeglass_dashboards.runs import RunIndex, reading
from edgeglass_dashboards.timeline import marks_words
from edgeglass_diag.figures.lines import CUT
from edgeglass_diag.figures.model_map import MOST_CELLS, State, lanes_of
from edgeglass_diag.figures.of_run import side_name, widest_sides
from edgeglass_diag.figures.sparklines import spark_svg
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.figures.timeline import FindingMark, timeline_figure
from edgeglass_diag.headline import headline
from edgeglass_diag.marks import Mark
from edgeglass_diag.records import Cut, Finding, Severity, UsageError
from edgeglass_diag.site_coverage import Coverage
from edgeglass_diag.sites import EmbeddingSite, ModuleSite, ParameterSite, Side
from edgeglass_diag.verdict import judge
from tests.helpers.browser import PLOT, eventually, has_text
from tests.helpers.dashboard_runs import CHANCE, COLLAPSED, CONSTANT, UPDATES, start, window, write_healthy
from tests.helpers.path_proxy import path_proxy

NAN = float("nan")


def made(code, severity=Severity.CRITICAL, **more):
    more = {"site": "", "step": 20, "message": "", "name": "learning-rate-high"} | more
    return Finding(code, severity=severity, **more)


@pytest.mark.parametrize(
    ("findings", "loss", "said"),
    [
        ([made("EG202", Severity.WARNING), made("EG301", since=12, because_of="EG202")], CHANCE,
         "Collapsed at step 12: learning rate high"),
        ([made("EG204", since=0)], 9.0, "Diverged from the start: learning rate high"),
        ([made("EG406")], CHANCE, "Does not learn, found at step 20: learning rate high"),
        ([made("EG406", since=3)], CHANCE, "Does not learn since step 3: learning rate high"),
        ([made("EG203", Severity.WARNING)], 1.0, "Learning, with a warning, found at step 20: learning rate high"),
        ([made("EG202", mark=Mark.CONFIRMED, mark_by="learning rate x 0.1 cures (3/3)")], CHANCE,
         "Does not learn, found at step 20: learning rate high (proved: learning rate x 0.1 cures (3/3))"),
        ([made("EG001", Severity.INFO)], 1.0, "Learning: loss 1 is 3.9 below chance 4.85"),
    ],
)  # fmt: skip
def test_the_verdict_says_what_happened_when_and_why(findings, loss, said):
    verdict = judge(findings, [loss], CHANCE, "running", recorded=40, taken=40)
    assert headline(findings, verdict, [loss], CHANCE, {}).text == said


def module(path, *parents):
    return ModuleSite(path=path, parents=parents, class_name="Linear")


CHAIN = ["visual.patches", *(f"visual.blocks.{n}.{part}" for n in range(6) for part in ("norm", "mlp")), "proj"]
MODEL = [
    module(CHAIN[0]),
    *(module(path, before) for before, path in pairwise(CHAIN)),
    module("words"),
    module("words#1"),
    module("head", "proj"),
    module("teacher"),
    EmbeddingSite(path="proj[:8]", module="proj", width=8, side=Side.IMAGE),
    EmbeddingSite(path="words[:8]", module="words", width=8, side=Side.TEXT),
    ParameterSite(path="proj.weight"),
]


def test_the_map_has_a_lane_for_each_side_in_few_cells_and_shows_the_worst_of_each():
    states = {"visual.blocks.2.mlp": State("warning", "signal lost"), "visual.blocks.2.norm": State("good", "healthy")}
    image, text, behind = lanes_of(MODEL, states)
    assert [lane.name for lane in (image, text, behind)] == ["image", "text", "behind"]
    assert len(image.cells) <= MOST_CELLS
    assert sum(cell.size for cell in image.cells) == 14
    assert [cell.path for cell in text.cells + behind.cells] == ["words", "head"]
    [ill] = [cell for cell in image.cells if cell.state.tone == "warning"]
    assert (ill.path, ill.state.words) == ("visual.blocks.2.mlp", "signal lost")
    ill_teacher = lanes_of(MODEL, {"teacher": State("critical", "NaN")})[-1]
    assert (ill_teacher.name, ill_teacher.cells[0].path) == ("other", "teacher")


def test_the_fault_of_a_module_that_holds_others_is_shown_at_the_last_of_them():
    image, *_ = lanes_of(MODEL, {"visual.blocks.5": State("critical", "constant")}, most=99)
    assert [cell.path for cell in image.cells if cell.state.tone == "critical"] == ["visual.blocks.5.mlp"]


def test_both_outputs_of_one_module_are_two_sides():
    outputs = [EmbeddingSite(path=f"{name}[:{width}]", width=width) for name in ("left", "right") for width in (8, 4)]
    assert [(side_name(side), side.width) for side in widest_sides(outputs)] == [("left", 8), ("right", 8)]


def test_cells_of_one_name_say_whose_they_are():
    [lane] = lanes_of(
        [module(f"layers.{number}.{part}") for number in range(2) for part in ("norm", "mlp")], {}, most=9
    )
    assert [cell.label for cell in lane.cells] == ["layers.0 norm", "layers.0 mlp", "layers.1 norm", "layers.1 mlp"]


def test_modules_whose_parameters_get_no_gradient_are_not_healthy_on_the_map(tmp_path):
    writer = start(tmp_path / "x")
    writer.write(window(0))
    writer.finish("finished", {})
    cut = Coverage.HELD_WITHOUT_GRADIENT
    sites = [
        *(ModuleSite(path=path) for path in ("visual", "visual.mlp", "visual.norm", "visual.act", "textual")),
        ParameterSite(path="visual.mlp.weight", coverage=cut),
        ParameterSite(path="visual.norm.weight"),
        ParameterSite(path="visual.norm.bias", coverage=cut),
        ParameterSite(path="textual.weight", coverage=Coverage.HELD_FROZEN),
    ]
    with reading(tmp_path, "x") as run:
        assert states_of(run, sites, []) == {"visual.mlp": State("info", "no gradient")}


def test_a_model_without_sides_is_one_lane_and_many_layers_are_bundled():
    [lane] = lanes_of([module(f"layers.{number}") for number in range(200)], {"layers.7": State("warning", "lost")})
    assert lane.name == "model"
    assert [cell.label for cell in lane.cells[:2]] == ["layers.0-32", "layers.33-66"]
    assert sum(cell.size for cell in lane.cells) == 200
    assert (lane.cells[0].path, lane.cells[1].state.words) == ("layers.7", "not measured")


def test_a_sparkline_leaves_gaps_and_shows_noise_as_flat():
    assert spark_svg([1, NAN, 2, 3], [1, NAN, 2, 3]).count("M") == 2 + 0
    assert len(set(re.findall(r" (\d+\.\d)", spark_svg([14.2857, 14.2858], [14.2857, 14.2858]).split("d=")[1]))) == 1
    assert spark_svg([NAN], [NAN]) == ""


def test_marks_stand_where_findings_began_and_know_where_they_lead():
    import pandas as pd

    loss = pd.DataFrame({"step": [0, 100], "value": [4.8, 4.8]})
    marks = [FindingMark(10, "EG2", "critical", "<b>text</b>", "?page=signal"), FindingMark(9, "EG1", "info", "", "?")]
    trace = timeline_figure(loss, loss, TEMPLATES["dark"], marks).data[-1]
    assert (trace.x, trace.text, trace.meta["ways"]) == ((9, 10), ("EG1", "EG2"), ["?", "?page=signal"])
    assert len(set(trace.y)) == 2
    assert "&lt;b&gt;text" in trace.hovertext[1]


@pytest.mark.parametrize("path", ["proxy", "/a b", "/../x", "//evil\n", '/"'])
def test_a_base_path_that_is_none_is_refused(path):
    with pytest.raises(UsageError, match="--base-path: expected a path"):
        checked_base(path)


def test_behind_a_proxy_all_needs_the_token_and_redirects_stay_below_its_path(tmp_path):
    from edgeglass_dashboards.security import Access

    write_healthy(tmp_path / "x", steps=30)
    client = app.create_app(tmp_path, Access(token="s3cret-token", base="/user/me")).server.test_client()
    for path in ("/user/me/_runs", "/_runs"):  # a proxy may leave its own path out
        assert client.get(path, headers={"Host": "hub.example"}).status_code == 403
    told = client.get("/user/me/run/x?token=s3cret-token", headers={"Host": "hub.example"})
    assert (told.status_code, told.headers["Location"]) == (303, "../run/x")  # whatever path the proxy strips
    for path in ("/user/me/run%2Fx", "/run%2Fx"):  # an encoded slash is none to the browser
        told = client.get(f"{path}?token=s3cret-token", headers={"Host": "hub.example"})
        assert told.headers["Location"] == "./run/x", path
    assert client.get("/user/me/_runs", headers={"Host": "hub.example"}).json[0]["value"] == "/run/x"


def test_the_state_of_a_run_is_told_in_a_line_and_only_of_runs(tmp_path):
    writer = start(tmp_path / "x")
    writer.write(window(0), [UPDATES])
    client = app.create_app(tmp_path).server.test_client()
    told = client.get("/_state?path=x", base_url="http://127.0.0.1:8050").json
    assert told == {"run": "x", "status": "running", "tone": "warning"}
    assert client.get("/_state?path=../x", base_url="http://127.0.0.1:8050").status_code == 404
    writer.finish("finished", {})
    assert RunIndex(tmp_path).entries()[0].path == "x"


SCREEN = {"width": 1280, "height": 720}


@pytest.mark.browser
def test_the_first_screen_answers_and_leads_to_site_and_evidence(serve, open_page, trained):
    page = open_page(f"{serve(trained).url}/run/real")
    page.set_viewport_size(SCREEN)
    eventually(page, f"({PLOT.format('loss')}?.data?.length ?? 0) > 3")
    eventually(page, "document.documentElement.scrollHeight <= innerHeight")
    has_text(page, "#verdict", "at step 10: gradient is always zero")
    for part in ("What was measured", "Where", "What to change"):
        has_text(page, "#verdict-details dt", part)
    assert page.locator(".tile").count() >= 6
    assert page.locator(".map-lane").count() == 2
    page.keyboard.press("j")
    assert "EG007" in page.evaluate("document.activeElement.textContent")
    page.locator(".map-cell[title^='image_pool:']").click()
    has_text(page, ".site-name", "image_pool")
    eventually(page, f"({PLOT.format('site-attention-entropy')}?.data?.length ?? 0) === 4")
    has_text(page, "#site-findings", "EG007")
    page.get_by_role("link", name=re.compile("EG007")).click()
    page.locator(".tabs a[aria-current=page]", has_text="Coverage").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.locator("[data-page='/run/real|overview']").wait_for()
    box = page.locator("#loss .scatterlayer .trace").last.locator("path.point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    eventually(page, f"{PLOT.format('loss')}._hoverdata?.length > 0")
    has_text(page, "#loss .hovertext", "Gradient is always zero")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator(".tabs a[aria-current=page]", has_text="Coverage").wait_for()


HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.mark.browser
def test_a_finding_is_told_by_toast_title_and_icon_and_a_tab_in_the_background_asks_nothing(serve, open_page, tmp_path):
    writer = start(tmp_path / "x")
    for number in range(3):
        writer.write(window(number))
    dashboard = serve(tmp_path)
    page = open_page(dashboard.url)
    eventually(page, f"({PLOT.format('loss')}?.data?.[0]?.x?.length ?? 0) === 3")
    eventually(page, "document.title === '▶ perceiver (x) - edgeglass-diag'")
    page.evaluate(HIDE, True)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    writer.write(window(3, loss=4.2), [CONSTANT])
    other = open_page(dashboard.url)
    has_text(other, "#verdict", "Collapsed")  # by now a page that is looked at has asked
    other.wait_for_timeout(1500)
    assert asked == []
    page.evaluate(HIDE, False)
    has_text(page, "#tile-loss .tile-value", "4.2")
    has_text(page, ".mantine-Notification-root", "EG301")
    eventually(page, "document.title.startsWith('✖')")
    assert page.evaluate("document.querySelector('link[rel~=icon]').href").startswith("data:image/svg+xml")
    writer.write(window(4), COLLAPSED[1:])
    writer.finish("failed", {})
    has_text(page, ".mantine-Notification-root", "EG401")
    page.locator(".mantine-Notification-root", has_text="EG301").click()
    page.locator(".tabs a[aria-current=page]", has_text="Signal").wait_for()


@pytest.mark.browser
def test_below_a_base_path_every_way_leads_below_it(serve, open_page, tmp_path, monkeypatch):
    write_healthy(tmp_path / "x", steps=60)
    page = open_page(serve(tmp_path, "--base-path", "/user/me/proxy").url)
    has_text(page, "#verdict", "Learning")
    eventually(page, f"({PLOT.format('loss')}?.data?.length ?? 0) > 0")
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name="x", exact=True).click()
    has_text(page, "#verdict", "Learning")
    assert page.url.endswith("/user/me/proxy/run/x")
    page.context.clear_cookies()


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.parametrize("strips", [True, False])
def test_a_proxy_may_strip_its_path_or_leave_it(serve, open_page, tmp_path, strips):
    write_healthy(tmp_path / "a" / "x", steps=60)
    dashboard = serve(tmp_path, "--base-path", "/user/me/proxy/1")
    token = dashboard.url.partition("?")[2]
    with path_proxy(dashboard.port, "/user/me/proxy/1", strips=strips) as url:
        for place in ("/", "/run/a/x", "/run%2Fa%2Fx"):
            page = open_page(f"{url}{place}?{token}")
            has_text(page, "#verdict", "Learning")
            assert page.url == f"{url}{place}".replace("%2F", "/")
            eventually(page, f"({PLOT.format('loss')}?.data?.length ?? 0) > 0")
            page.get_by_role("link", name="Runs", exact=True).click()
            page.get_by_role("link", name="a/x", exact=True).click()
            has_text(page, "#verdict", "Learning")
            assert page.url == f"{url}/run/a/x"
            page.context.clear_cookies()
            page.goto("about:blank")


def test_where_a_run_went_on_is_drawn_and_said():
    import pandas as pd

    loss = pd.DataFrame({"step": [0, 100], "value": [4.8, 4.8]})
    figure = timeline_figure(loss, loss, TEMPLATES["light"], (), (41,))
    assert [shape.x0 for shape in figure.layout.shapes if shape.name == CUT] == [41]
    assert "resumed at step 41" in [note.text for note in figure.layout.annotations]
    assert marks_words([], [Cut(41)]) == "Resumed at step 41."
