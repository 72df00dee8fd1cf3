"""Heatmaps, profiles and what else is drawn of sites and steps, as pure functions; and what travels of them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from plotly.io.json import to_json_plotly

import edgeglass_diag as eg
from edgeglass_dashboards.context import Context
from edgeglass_dashboards.cursor import Cursor
from edgeglass_dashboards.finding_links import link_to
from edgeglass_dashboards.findings_list import findings_list
from edgeglass_dashboards.pages import attention, signal
from edgeglass_dashboards.pages.frame import changes_since
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.static import _html as html_of
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.heatmaps import broken_strokes, site_heatmap
from edgeglass_diag.figures.of_run import profile_at, read_matrix
from edgeglass_diag.figures.profile import Stage, fed_sites, first_that_loses, signal_profile
from edgeglass_diag.figures.scales import scale_of
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.measures.batch_recall import recall_at
from edgeglass_diag.records import Bounds, Finding, Reading, Severity, UsageError, Window
from edgeglass_diag.signals.activations import ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY, ATTENTION_TOP1
from edgeglass_diag.signals.parameters import UPDATE_RATIO
from edgeglass_diag.sites import AttentionSite, ModuleSite
from edgeglass_diag.verdict import Branch
from tests.helpers.dashboard_runs import RULES, figure_in, start

SITES = [AttentionSite(path=f"layers.{n}.attention", order=n) for n in range(3)]
MODULES = [
    ModuleSite(path="project", order=0),
    ModuleSite(path="mlp", order=1, parents=("project",)),
    ModuleSite(path="out", order=2, parents=("mlp",)),
]
RULES_BY_CODE = {rule.code: rule for rule in RULES}


def attend(step, *, entropy=0.5, sites=SITES):
    readings = [Reading(step, site.path, ATTENTION_ENTROPY, (entropy, entropy / 2)) for site in sites]
    signals = [
        Reading(step, m.path, ACTIVATION_SAMPLE_SIGNAL, (v,)) for m, v in zip(MODULES, (0.5, 0.0, 0.0), strict=True)
    ]
    return Window(step, (*readings, *signals), (*sites, *MODULES))


@pytest.fixture
def run(tmp_path):
    writer = start(tmp_path / "x")
    for step in range(4):
        writer.write(attend(step))
    yield tmp_path, writer
    writer.finish("finished", {})


def news(root, cursor, view, *, hold=False, page=attention.PAGE):
    with eg.load(root / "x") as opened:
        changes, after = changes_since(page, Context(RunIndex(root), view, opened=opened, hold=hold), cursor)
    answer = json.loads(to_json_plotly([changes, after.as_dict()]))
    return dict(answer[0]), Cursor.parse(json.dumps(answer[1]))


def test_only_new_columns_of_a_heatmap_travel(run):
    root, writer = run
    view = View("attention")
    changes, cursor = news(root, Cursor("x", "t", "attention"), view)
    assert "heat-panel" in changes
    assert news(root, cursor, view)[0].keys() == set()
    writer.write(attend(4, entropy=0.25))
    changes, cursor = news(root, cursor, view)
    added = changes["heat"]["addColumns"]
    assert added["steps"] == [4]
    assert added["sites"]["layers.1.attention"] == {"z": [0.1875]}
    assert "heat-panel" not in changes
    assert len(json.dumps(changes["heat"])) < 600


def test_nan_and_infinity_travel_as_broken_cells(run):
    root, writer = run
    _, cursor = news(root, Cursor("x", "t", "attention"), View("attention"))
    writer.write(attend(4, entropy=math.nan))
    added = news(root, cursor, View("attention"))[0]["heat"]["addColumns"]
    assert added["broken"]["x"] == [3.5, 4.5, None] * len(SITES)
    assert added["broken"]["y"] == [name for site in SITES for name in (site.path, site.path, None)]
    assert added["sites"]["layers.0.attention"]["z"] == [None]


def test_broken_cells_side_by_side_have_one_stroke_and_none_is_lost():
    class Found:
        sites, edges = ["a", "b"], [0, 10, 30]
        low = np.zeros((2, 3), np.float32)
        high = np.array([[0, np.inf, 0], [0, 0, 0]], np.float32)
        nans = np.array([[0, 0, 1], [1, 0, 1]])

    strokes = broken_strokes(Found())
    assert strokes["x"] == [5, 40, None, -5, 5, None, 20, 40, None]
    assert strokes["y"] == ["a", "a", None, "b", "b", None, "b", "b", None]
    assert strokes["customdata"][::3] == ["10 to 30", "0", "30"]


def test_a_new_site_draws_the_heatmap_anew(run):
    root, writer = run
    _, cursor = news(root, Cursor("x", "t", "attention"), View("attention"))
    writer.write(attend(4, sites=[*SITES, AttentionSite(path="late", order=9)]))
    changes, _ = news(root, cursor, View("attention"))
    assert len(figure_in(changes["heat-panel"])["data"][0]["y"]) == 4


def test_a_held_page_changes_with_the_view_alone(run):
    root, writer = run
    _, cursor = news(root, Cursor("x", "t", "attention"), View("attention"))
    writer.write(attend(4))
    assert "heat" not in news(root, cursor, View("attention"), hold=True)[0]
    changes, _ = news(root, cursor, View("attention", site="layers.0.attention"), hold=True)
    assert "heads-panel" in changes


def test_heads_are_extended(run):
    root, writer = run
    view = View("attention", site="layers.0.attention")
    changes, cursor = news(root, Cursor("x", "t", "attention"), view)
    assert [t["name"] for t in figure_in(changes["heads-panel"])["data"]] == ["head 0", "head 1"]
    writer.write(attend(4))
    added, traces = news(root, cursor, view)[0]["heads"]["extendData"]
    assert (added["x"], traces) == ([[4], [4]], [0, 1])


def test_the_signal_page_names_the_module_that_loses_the_sample(run):
    root, writer = run
    changes, cursor = news(root, Cursor("x", "t", "signal"), View("signal"), page=signal.PAGE)
    assert "the first module that loses the sample is mlp" in json.dumps(changes["answer"])
    writer.write(attend(7))
    changes, cursor = news(root, cursor, View("signal"), page=signal.PAGE)
    assert changes["step"] == {"max": 7, "value": 7}
    changes, _ = news(root, cursor, View("signal", step=2), page=signal.PAGE)
    assert "Step 2. " in json.dumps(changes["step-words"])


def test_a_profile_is_of_the_step_at_or_before(run):
    with eg.load(run[0] / "x") as opened:
        assert profile_at(opened, 2)[0] == 2
        assert profile_at(opened, 900)[0] == 3
        assert profile_at(opened, None)[0] == 3


def test_what_is_fed_no_sample_loses_nothing():
    stages = [
        Stage("tokens", 0.6),
        Stage("latents", 0.0),
        Stage("query", 0.0, ("latents",)),
        Stage("mix", 0.3, ("tokens", "query")),
        Stage("mean", math.nan, ("mix",)),
        Stage("head", 0.0, ("mean",)),
    ]
    assert first_that_loses(stages).site == "mean"
    assert fed_sites(stages) == {"mix", "mean", "head"}
    figure = signal_profile(stages, TEMPLATES["light"])
    assert [list(trace.y) for trace in figure.data] == [["tokens", "mix"], ["mean", "head"], ["latents", "query"]]
    assert [note.y for note in figure.layout.annotations if note.text == "<b>lost here</b>"] == ["mean"]
    assert first_that_loses(stages[:4]) is None


def test_a_heatmap_shows_its_bounds_and_keeps_the_extreme(run):
    with eg.load(run[0] / "x") as opened:
        matrix = read_matrix(opened, ATTENTION_ENTROPY, component="mean", bins=2)
        figure = site_heatmap(matrix, scale_of(ATTENTION_ENTROPY, opened.rules), TEMPLATES["dark"])
        assert read_matrix(opened, ATTENTION_TOP1, component="mean") is None
    heat = figure.data[0]
    assert "<b>≤ 0.98</b>" in heat.colorbar.ticktext
    assert (heat.zmin, heat.zmax) == (0, 1)
    assert list(heat.y) == [site.path for site in SITES]
    assert figure.layout.meta == {"pick": {"site": "y", "step": "x"}}


def test_logarithmic_colours_place_zero_below_all():
    scale = scale_of(UPDATE_RATIO, RULES_BY_CODE)
    assert [scale.is_healthy(value) for value in (0.0, 1e-3, 0.5, math.inf)] == [False, True, False, False]


@pytest.mark.parametrize("name", ["loss", "recall", "clipping", "attention", "updates", "signal", "attention/top1"])
def test_a_run_draws_its_figures_by_name(run, name):
    with eg.load(run[0] / "x") as opened:
        assert opened.figure(name, dark=True).to_plotly_json()["layout"]


def test_an_unknown_figure_is_answered_with_the_names(run):
    with eg.load(run[0] / "x") as opened, pytest.raises(UsageError, match="figure: expected one of loss, recall"):
        opened.figure("los")


def test_a_threshold_that_a_user_set_is_the_bound_that_is_drawn(tmp_path):
    configured = [
        replace(rule, bounds={ATTENTION_ENTROPY: Bounds(high=0.4)}) if rule.code == "EG101" else rule for rule in RULES
    ]
    writer = start(tmp_path / "x", rules=configured)
    writer.write(attend(0))
    changes, _ = news(tmp_path, Cursor("x", "t", "attention"), View("attention", site=SITES[0].path))
    assert "above 0.4 attention is uniform" in json.dumps(changes["scale-words"])
    assert "(EG101)" in json.dumps(changes["scale-words"])
    heat = figure_in(changes["heat-panel"])
    assert "<b>≤ 0.4</b>" in heat["data"][0]["colorbar"]["ticktext"]
    assert "healthy below 0.4" in json.dumps(changes["heads-panel"])
    writer.finish("finished", {})


@pytest.mark.parametrize(
    ("finding", "link"),
    [
        (dict(code="EG102", site="pool"), "?page=attention&signal=attention%2Feffective_num_outputs&site=pool"),
        (dict(code="EG202", site="", focus="head.weight"), "?page=gradients&signal=update%2Fratio&site=head.weight"),
        (dict(code="EG301", site="head[:64]", focus="pool", since=4), "?page=signal&site=pool&step=4"),
        (dict(code="EG301", site="pool"), "?page=signal&site=pool&step=9"),
        (dict(code="EG601", site=""), "?page=retrieval"),
        (dict(code="XX001", site="pool"), "?"),
    ],
)
def test_a_finding_leads_to_the_page_signal_site_and_step_that_show_it(finding, link):
    made = Finding(name="", severity=Severity.WARNING, step=9, message="", **finding)
    assert link_to(made, RULES_BY_CODE) == link


def test_a_former_path_in_an_address_is_that_of_today(run):
    with eg.load(run[0] / "x") as opened:
        context = Context(RunIndex(run[0]), View("attention", signal="attention/distinct"), opened=opened)
        assert attention.PAGE.signal_of(context) == "attention/effective_num_outputs"


def test_a_finding_of_several_sites_is_shown_once_with_its_sites_folded():
    sites = tuple(site.path for site in SITES)
    finding = Finding("EG102", "alike", Severity.WARNING, sites[0], 9, "all queries read the same", sites=sites)
    text = html_of(findings_list([Branch(finding)], RULES_BY_CODE), [])
    assert text.count("<summary>3 layers (layers.*.attention)</summary>") == 1
    assert [text.count(f"<code>{site}</code></a></li>") for site in sites] == [1, 1, 1]


def test_recall_of_a_snapshot_agrees_with_a_slow_count():
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(40, 8)), rng.normal(size=(40, 8))
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (image[:, :4], text[:, :4])]
    cosines = unit[0] @ unit[1].T
    slow = np.mean([sum(row > row[i]) < 5 for i, row in enumerate(cosines)])
    assert recall_at(image, text, 5, [4])[4][0] == pytest.approx(slow)
    assert recall_at(image * np.nan, text, 1, [4])[4] == (0.0, 0.0)
