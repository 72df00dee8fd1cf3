"""The first screens of six faults answer a first-time user's five questions, without scrolling."""

import re
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.helpers.browser import PLOT, eventually

SCREEN = {"width": 1280, "height": 720}
WHEN = r"from the start|at step \d+|since step \d+"


class Answers(NamedTuple):
    """What the first screen says of a fault; ``since`` is a pattern."""

    learns: str
    since: str
    wrong: str
    where: str
    change: str


ANSWERS = {
    "rate-far-too-large": Answers(
        "Collapsed", r"at step \d+", "learning rate too high", "look first at visual.blocks", "Lower the learning rate"
    ),
    "head-outside-the-optimizer": Answers(
        "Learning, with a warning",
        r"at step \d+",
        "missing from the optimizer",
        "text_proj.weight",
        "Give the optimizer",
    ),
    "nan-in-a-gradient": Answers(
        "Broken by NaN", r"at step \d+", "NaN or infinity", "visual.patches", "Lower the learning rate"
    ),
    "mask-inverted": Answers(
        "Learning, but ill", WHEN, "attention mask inverted", "textual.blocks", "key_padding_mask"
    ),
    "labels-permuted": Answers(
        "Does not learn", WHEN, "labels do not point at the pairs", "cross_entropy", "torch.arange"
    ),
    "captions-mispaired": Answers(
        "Does not learn", "from the start", "loss at chance level", "whole model", "Look at some pairs"
    ),
}
SEEN = """() => {
  const seen = (part) => [...part.childNodes].map((node) => {
    if (node.nodeType !== Node.TEXT_NODE) return seen(node);
    const range = document.createRange();
    const on = (at) => {
      range.setStart(node, at); range.setEnd(node, at + 1);
      const { left, top, bottom } = range.getBoundingClientRect();
      const box = node.parentElement.closest('dd')?.getBoundingClientRect();
      return top >= 0 && bottom <= innerHeight && left <= innerWidth && (!box || bottom <= box.bottom + 1);
    };
    return [...node.data].filter((_, at) => on(at)).join('');
  }).join(' ');
  const text = (selector) => [...document.querySelectorAll(selector)].map(seen).join(' ').replace(/\\s+/g, ' ');
  return [text('#verdict'), text('#verdict-details dd')];
}"""
"""The texts of the verdict and of its details as far as a screen shows them: without what is cut or below it."""


def unanswered(wanted, verdict, details):
    """Which questions the two texts leave open."""
    answers = {
        "is it learning?": wanted.learns in verdict,
        "since when?": re.search(wanted.since, verdict),
        "what is wrong?": wanted.wrong in verdict,
        "where?": wanted.where in details,
        "what do I change?": wanted.change in details,
    }
    return [question for question, answered in answers.items() if not answered]


def test_each_answer_that_is_missing_is_noticed():
    verdict = "Collapsed at step 12: learning rate too high"
    details = "A step changes 11 %. whole model; look first at visual.blocks.0.mlp Lower the learning rate by 10."
    wanted = ANSWERS["rate-far-too-large"]
    assert unanswered(wanted, verdict, details) == []
    assert unanswered(wanted, verdict.replace("Collapsed", "Warning"), details) == ["is it learning?"]
    assert unanswered(wanted, verdict.replace(" at step 12", ""), details) == ["since when?"]
    assert unanswered(wanted, verdict.partition(":")[0], details) == ["what is wrong?"]
    assert unanswered(wanted, verdict, details.replace("visual.blocks", "vis…")) == ["where?"]
    assert unanswered(wanted, verdict, details.partition(" Lower")[0]) == ["what do I change?"]


def answers(page, run):
    """See that the first screen of a fault's run gives the answers, and gives them without scrolling."""
    go_to = page.url.partition("/run")[0].rstrip("/") + f"/run/{run}-0"
    page.goto(go_to)
    eventually(page, f"({PLOT.format('loss')}?.data?.at(-1)?.meta?.ways?.length ?? 0) > 0")
    eventually(page, "document.documentElement.scrollHeight <= innerHeight")
    assert unanswered(ANSWERS[run], *page.evaluate(SEEN)) == [], run


@pytest.mark.long
@pytest.mark.browser
def test_six_faults_are_answered_on_the_first_screen(serve, open_page, tmp_path):
    names = ",".join(ANSWERS)
    command = ["-m", "edgeglass_diag", "bench", "--faults", names, "--every", "5", "--out", str(tmp_path)]
    subprocess.run([sys.executable, *command], check=False, capture_output=True)
    page = open_page(serve(tmp_path).url)
    page.set_viewport_size(SCREEN)
    for name in ANSWERS:
        answers(page, name)
