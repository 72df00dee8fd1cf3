"""The report as its reader meets it: in a browser, offline, with names and numbers of every kind."""

import math
import re
import shutil

import numpy as np
import pytest
import torch

from edgeglass_diag.comparison import compare_runs
from edgeglass_diag.evaluation.embeddings import make_embeddings
from edgeglass_diag.evaluation.pairs import sample_pairs
from edgeglass_diag.evaluation.report import report
from edgeglass_diag.records import Finding, Severity, UsageError
from edgeglass_diag.report.html import report_html
from edgeglass_diag.report.render import all_at_chance, prefix_sentences, retrieval_sentence
from edgeglass_diag.report.report_run import Evaluation, Subject
from edgeglass_diag.reporting import make_html, open_runs
from edgeglass_diag.store import RunWriter, load
from tests.helpers.dashboard_runs import start, window, write_collapsed, write_healthy
from tests.helpers.explanations import BY, VERDICT, write_explained

EVIL = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)> 'quoted\" & </script>"


def evaluation(*, constant=False, bad=False):
    drawn = np.random.default_rng(0)
    image = drawn.standard_normal((60, 32)) * 0.9 ** np.arange(32)
    text = image + 0.3 * drawn.standard_normal((60, 32))
    image = np.ones_like(image) if constant else image
    if bad:
        image[2] = np.nan
    result = report(make_embeddings(torch.from_numpy(image), torch.from_numpy(text)), [32, 16, 8, 4])
    return Evaluation({**result, "split": "test"}, sample_pairs(image, text))


def text_of(html):
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(script|style).*?</\1>", "", html)).split())


@pytest.fixture
def runs(tmp_path):
    write_healthy(tmp_path / "baseline")
    write_collapsed(tmp_path / "perceiver")
    opened = [load(tmp_path / name) for name in ("baseline", "perceiver")]
    yield opened
    for run in opened:
        run.close()


@pytest.mark.browser
def test_the_page_works_offline_and_draws_every_figure(runs, browser, tmp_path):
    subjects = [
        Subject(runs[0], "baseline", evaluation(bad=True)),
        Subject(runs[1], "perceiver", evaluation(constant=True)),
    ]
    file = tmp_path / "report.html"
    file.write_text(report_html(subjects, compare_runs(runs)), encoding="utf-8")
    assert file.stat().st_size < 5_000_000
    context = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark", offline=True)
    page, complaints, requests = context.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")  # draws all of them, in light
    plots = page.locator(".plot")
    assert plots.count() == 3 + 2 * 6 + 2  # recalls, two losses, what embeddings look like, two curves
    assert page.locator(".plot[data-drawn=light]").count() == plots.count()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator(".plot[data-drawn=dark]").count() == plots.count()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    headings = ["Setup", "Configurations", "Quantitative comparison", "Failure analysis", "MRL verification"]
    assert page.locator("h2").all_inner_texts() == headings
    context.close()
    assert complaints == []
    assert requests == [file.as_uri()]


def test_it_says_what_the_findings_and_the_numbers_say(runs):
    subjects = [
        Subject(runs[0], "baseline", evaluation(bad=True)),
        Subject(runs[1], "perceiver", evaluation(constant=True)),
    ]
    said = text_of(report_html(subjects, compare_runs(runs)))
    for words in (
        "Does not learn: the image embeddings are the same for every image: sample signal 0.0004",
        "What to change: scale the latents to std 0.02",
        "the embeddings of 1 of 60 images and 0 of 60 captions are not finite",
        "perceiver retrieves no better than chance at any width",
        "not told from chance, which is 0.0167",
        "No rule has found a fault.",
        "The losses part at step",
    ):
        assert words in said


def test_runs_without_settings_embeddings_or_an_end_are_reported(tmp_path):
    writer = RunWriter(tmp_path / "script", name="train.py", header={"program": "train.py", "command": ["train.py"]})
    writer.write(window(0, loss=math.nan))
    with load(tmp_path / "script") as run:
        said = text_of(make_html([run], None))
    writer.finish("finished", {})
    for words in ("train.py has no settings", "no checkpoint of a recipe in its folder", "running", "not finite"):
        assert words in said
    RunWriter(tmp_path / "empty", name="empty", header={}).finish("failed", {"error": "ValueError: no data"})
    with load(tmp_path / "empty") as run:
        assert "failed: ValueError: no data" in text_of(make_html([run], None))


def test_a_finding_of_several_sites_is_told_once_with_all_of_them(tmp_path):
    writer = start(tmp_path / "run")
    sites = ("pool.0.attention", "pool.1.attention")
    finding = Finding("EG102", "alike", Severity.WARNING, sites[0], 3, "all read the same", sites=sites, since=2)
    writer.write(window(3), [finding])
    writer.finish("finished", {})
    with load(tmp_path / "run") as run:
        said = text_of(report_html([Subject(run, "run")], compare_runs([run])))
    assert "EG102 alike at 2 layers (pool.*.attention), step 3" in said
    assert "Found at pool.0.attention , pool.1.attention ." in said
    assert "since step 2" in said


def test_foreign_text_stays_text(tmp_path):
    writer = start(tmp_path / "run", name=EVIL)
    finding = Finding(EVIL, EVIL, Severity.CRITICAL, EVIL, 3, EVIL, {EVIL: EVIL}, EVIL)
    writer.write(window(3), [finding])
    writer.finish("failed", {"error": EVIL})
    with load(tmp_path / "run") as run:
        html = report_html([Subject(run, EVIL, evaluation())], compare_runs([run]))
        plain = report_html([Subject(run, EVIL, missing=EVIL)], compare_runs([run]))
    for page in (html, plain):
        assert "<img" not in page
        assert page.count("<script") == 3
        assert "&lt;script&gt;alert(1)" in page


def test_six_runs_are_taken_and_told_apart(runs, tmp_path):
    for index in range(4):
        shutil.copytree(tmp_path / "baseline", tmp_path / f"copy-{index}")
    opened = open_runs([tmp_path])
    assert len(opened) == 6
    html = make_html(opened, None)
    assert html.count("baseline (") > 6  # runs of one name are told apart by their folders
    shutil.copytree(tmp_path / "baseline", tmp_path / "copy-5")
    with pytest.raises(UsageError, match="expected at most 6 runs, got 7"):
        open_runs([tmp_path])


def test_sentences_are_careful_with_chance():
    constant, learned = evaluation(constant=True).result, evaluation().result
    assert all_at_chance(constant)
    assert not all_at_chance(learned)
    assert "times chance" in retrieval_sentence("a", learned)
    assert "of 32 dims" in prefix_sentences("a", learned)[0]


def test_wrong_targets_are_named(command, tmp_path):
    write_healthy(tmp_path / "run", steps=20)
    for arguments, words in (
        (["--out", tmp_path / "x.pdf"], "--out"),
        (["--out", tmp_path / "none" / "x.html"], "expected a file in a folder that exists"),
        (["--notebook", tmp_path / "x.html"], "expected a file that ends in .ipynb"),
    ):
        done = command("report", tmp_path / "run", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    assert "no such run" in command("report", tmp_path / "gone").stderr


def test_a_run_with_an_explanation_has_a_section_of_it(tmp_path):
    run, out = write_explained(tmp_path)
    made = make_html(open_runs([run]), None)
    text = text_of(made)
    assert VERDICT in text
    assert f"Explained: confirmed by replays: {BY}" in text
    assert "train.py:41" in text
    assert text.count("does not learn") >= 9
    assert "one line per seed" in text
    (out / "explain.json").write_text("{")
    broken = text_of(make_html(open_runs([run]), None))
    assert "explain.json:1: expected JSON" in broken
    assert VERDICT not in broken
    (run / "explained.json").unlink()
    assert "Explanation" not in text_of(make_html(open_runs([run]), None))
