"""The pages of what other commands keep with a run: attribution, profile, and the whole of an explanation."""

import json

import numpy as np
import pytest
from PIL import Image
from plotly.io.json import to_json_plotly

from edgeglass_dashboards.app import draw_page
from edgeglass_dashboards.runs import RunIndex
from edgeglass_dashboards.static import static_page
from edgeglass_diag.explained.record import KeptExplanation
from edgeglass_diag.explained.tree import search_trees
from tests.helpers.browser import PLOT, eventually, has_text
from tests.helpers.dashboard_runs import write_healthy
from tests.helpers.explanations import trial, tried, write_explained
from tests.profiling.test_trace_summary import STEP

EVIL = "<img src=x onerror=alert(1)>"
SIDES = (("pixels", "image", [2, 2]), ("latents", "image", None), ("words", "text", None))


def text(index, address, search):
    drawn = draw_page(index, {"address": address, "search": search})[0]
    return json.dumps(json.loads(to_json_plotly(drawn)), ensure_ascii=False)


def view(side, grid, number):
    values = [0.01 * place for place in range(number)]
    return {
        "side": side,
        "grid": grid,
        "reference": 0.1,
        "integrated_gradients": values,
        "ablation": values,
        "error": 0,
    }


def entry(information):
    ci95 = {name: [information - 0.1, information + 0.1] for name in ("information", "score", "R@1")}
    return {"information": information, "score": 0.5, "R@1": 0.9, "ci95": ci95, "share": 0.0}


def write_attribution(run, **facts):
    folder = run / "attribution"
    folder.mkdir(exist_ok=True)
    views = {"pixels": view("image", [2, 2], 4), "latents": view("image", None, 3), "words": view("text", None, 4)}
    pairs = [{"caption": EVIL, "similarity": 0.7, "words": ["a", "red", EVIL], "views": views} for _ in range(2)]
    information = {"n": 9, "informed": True, "pairs": entry(0.9), "pixels: mean of all": entry(0.0)}
    content = {"split": "test", "steps": 8, "information": information, "largest_error": 1e-7, "pairs": pairs} | facts
    (folder / "attribution.json").write_text(json.dumps(content))
    Image.fromarray(np.zeros((4, 20, 3), np.uint8)).save(folder / "pair-0.png")
    return folder


def write_profile(run, events=STEP):
    (run / "profile").mkdir(exist_ok=True)
    file = run / "profile" / "rank-0.pt.trace.json"
    file.write_text(json.dumps({"traceEvents": events}))
    return file


@pytest.fixture
def root(tmp_path):
    write_healthy(tmp_path / "runs" / "good", steps=60)
    return tmp_path / "runs"


def test_pages_without_content_say_the_command(root):
    index = RunIndex(root)
    place = root / "good"
    assert f"edgeglass-diag attribute {place} --out {place}/attribution" in text(
        index, "/run/good", "?page=attribution"
    )
    assert "edgeglass-diag profile good" in text(index, "/run/good", "?page=profile")


def test_an_attribution_is_shown_and_its_texts_stay_texts(root):
    write_attribution(root / "good")
    shown = text(RunIndex(root), "/run/good", "?page=attribution")
    for words in ("information 0.900 (0.800 to 1.000)", "data:image/png;base64,", "+0.030", "pixels, gradients"):
        assert words in shown, words
    page = static_page(root / "good")
    assert EVIL not in page
    assert '<img class="patch-tiles"' in page
    assert "<copybutton" not in page


@pytest.mark.parametrize("odd", ["nan", "inf", "-inf", "0.5"])
def test_numbers_that_json_has_by_name_are_drawn_as_numbers(root, odd):
    values = {"integrated_gradients": [0.1, odd, 0.2, odd], "ablation": [odd] * 4}
    views = {name: view(side, grid, 4) | values for name, side, grid in SIDES}
    pairs = [{"caption": "a red cube", "similarity": odd, "words": ["a", "red", "cube"], "views": views}]
    test = {
        "n": 9,
        "informed": True,
        "pairs": entry(0.9) | {"score": odd, "share": odd, "ci95": {"information": [odd, odd]}},
    }
    write_attribution(root / "good", pairs=pairs, information=test, largest_error=odd)
    shown = text(RunIndex(root), "/run/good", "?page=attribution")
    assert f"cosine {float(odd):.3f}" in shown
    assert f"{float(odd):+.3f}" in shown
    assert static_page(root / "good")


@pytest.mark.parametrize(
    "facts",
    [{"pairs": 3}, {"information": {"n": 1}}, {"information": {"n": 9, "informed": True, "pairs": entry(1), "x": {}}}],
)
def test_a_damaged_attribution_is_said(root, facts):
    write_attribution(root / "good", **facts)
    assert "attribution.json: expected an attribution" in text(RunIndex(root), "/run/good", "?page=attribution")


def test_nothing_outside_of_the_folder_is_shown(root, tmp_path):
    write_attribution(root / "good").rename(tmp_path / "elsewhere")
    (root / "good" / "attribution").symlink_to(tmp_path / "elsewhere")
    write_profile(root / "good").rename(tmp_path / "trace.json")
    (root / "good" / "profile" / "rank-0.pt.trace.json").symlink_to(tmp_path / "trace.json")
    index = RunIndex(root)
    assert "Nothing is attributed yet" in text(index, "/run/good", "?page=attribution")
    assert "This run was not profiled" in text(index, "/run/good", "?page=profile")


@pytest.mark.browser
def test_a_profile_appears_once_its_traces_are_read_and_they_can_be_taken_away(root, serve, open_page):
    file = write_profile(root / "good")
    url = serve(root).url
    page = open_page(f"{url}/run/good?page=profile")
    has_text(page, "#profiled", "33% forward")
    eventually(page, f"({PLOT.format('steps-by-phase')}?.data?.length ?? 0) === 6")
    has_text(page, "#operators tr", "aten::mm")
    answer = page.request.get(url + page.locator("#traces a").get_attribute("href"))
    assert answer.text() == file.read_text()
    for place in ("/_csv/run/gone", "/_trace/run/good?file=run.json", "/_trace/run/good?file=../run.json"):
        assert page.request.get(url + place).status == 404, place


def test_a_damaged_trace_is_said(root):
    write_profile(root / "good", events=STEP[1:])
    index = RunIndex(root)
    text(index, "/run/good", "?page=profile")
    (job,) = index.jobs._jobs.values()
    job.result()
    assert "no whole optimizer step in good/profile/rank-0.pt.trace.json" in text(index, "/run/good", "?page=profile")


def test_all_changes_can_be_drawn_and_what_was_left_out_is_listed(tmp_path):
    out = tmp_path / "why"
    trials = [trial(out, f"change {number:02}", "intervention", 0) for number in range(30)]
    write_explained(tmp_path, trials=trials, left_out=[f"out/file-{number}" for number in range(7)])
    index = RunIndex(tmp_path)
    first, second = (text(index, "/run/perceiver", f"?page=explain{more}") for more in ("", "&step=24"))
    assert "1 to 24" in first
    assert "25 to 30" in first
    drawn = [[f'"text": "change {number:02}"' in shown for number in (0, 23, 24, 29)] for shown in (first, second)]
    assert drawn == [[True, True, False, False], [False, False, True, True]]
    assert "without 7 paths that the run had made" in first
    assert "out/file-6" in first


def test_sets_of_changes_hang_below_those_that_hold_them():
    names = ["--lr", "--seed", "--width", "--wd"]
    sets = {"failing with --lr --seed --wd --width": False, "failing with --lr --wd": False, "failing with --lr": True,
            "failing with --wd": True, "failing with --seed --width": True, "failing": True}  # fmt: skip
    trials = [{"label": label, "seed": 0, "ill": ill} for label, ill in sets.items()]
    kept = {"verdict": "x", "trials": trials, "causes": [tried(name, "1/1") for name in names]}
    (tree,) = search_trees(KeptExplanation.model_validate(kept))
    assert (len(tree.changes), tree.learning, tree.resolved) == (4, 1, 1)
    below = {each.label: [smaller.label for smaller in each.smaller] for each in tree.smaller}
    assert below == {
        "failing with --seed --width": [],
        "failing with --lr --wd": ["failing with --wd", "failing with --lr"],
    }
