"""What a notebook shows: nothing of a program's texts is taken for HTML, Markdown or a formula."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt

import edgeglass_diag as eg
from edgeglass_diag.notebooks.document import Code, Folded, Headline, Nested, Table, Text
from edgeglass_diag.notebooks.html import _COLOURS, html
from edgeglass_diag.notebooks.markdown import markdown
from edgeglass_diag.notebooks.of_run import loss_figure
from edgeglass_diag.records import Finding, Findings, Severity
from edgeglass_diag.verdict import TONES
from tests.helpers import tiny_training
from tests.helpers.dashboard_runs import write_collapsed

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</div></details><style>*{display:none}</style>",
    "a' onmouseover='alert(1)",
    "&lt;b&gt; &#60;i&#62;",
    "[x](javascript:alert(1)) ![y](https://example.org/z.png)",
    "https://example.org www.example.org a@example.org",
    "$\\href{javascript:alert(1)}{x}$ \\(y\\)",
    "**bold** _it_ `code` ~~gone~~ | cell | # head",
    "- item\n1. item\n> quote\n\n---\n\n    code\n<!-- c -->",
    "1. one", "# head", "> quote", "+ plus", "=== ", "```", "``` `` `", "\\", "\\\\*a*",
    "\x00\x1b[31mred\x07 \u202egnp.exe \u2028line",
]  # fmt: skip
TAGS = {"div", "span", "b", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}


class Seen(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.words = set(), set(), [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)


def finding(text="", code="EG301", severity=Severity.CRITICAL, **more):
    made = {"name": text, "site": text, "step": 3, "message": text, "evidence": {text: text}, "fix": text, **more}
    return Finding(code, severity=severity, **made)


def document(text):
    table = Table((text, "b"), [(text, text), ("c", text)], title=text)
    inside = [Text(text, label=text), Code(text), table]
    return [Headline(text, text, text), Text(text), Nested(inside), Folded(text, inside), table]


@pytest.mark.parametrize("text", HOSTILE)
def test_html_holds_a_text_as_it_is(text):
    seen = Seen(html(document(text)))
    assert seen.tags <= TAGS
    assert seen.attributes <= {"style", "class"}
    assert seen.open == []
    printable = "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in text)
    assert "".join(seen.words).count(printable) >= 10


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_holds_a_text_as_it_is(text):
    written = markdown(document(text))
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = [each for token in parser.parse(written) for each in (token, *(token.children or []))]
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    assert kinds <= {"bullet_list", "list_item", "paragraph", "inline", "text", "text_special", "softbreak", "strong",
                     "code_inline", "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip
    said = ["".join(each.content for each in token.children) for token in tokens if token.type == "inline"]
    one_line = " ".join("".join(each if each.isprintable() or each.isspace() else "\ufffd" for each in text).split())
    assert sum(one_line in each for each in said) >= 10
    outside = markdown([Headline(text, "", text), Text(text, label=text), Table((text,), [(text,)])])
    assert not re.search(r"https?://|www\.\w|\$|\\\\|@", outside)  # links and formulas of Jupyter's own


def test_a_formula_in_a_name_stays_text():
    written = markdown([Text("$x$")])
    assert written == "- &#36;x&#36;\n"
    assert 'class="edgeglass tex2jax_ignore mathjax_ignore"' in html([Text("$x$")])


def test_the_severity_is_a_word_in_a_colour_with_contrast():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    assert set(_COLOURS) == {*TONES, *map(str, Severity)}
    for ground, colour in _COLOURS.values():
        low, high = sorted(map(luminance, (ground, colour)))
        assert (high + 0.05) / (low + 0.05) >= 4.5
    shown = finding("x", severity=Severity.WARNING)._repr_html_()
    assert "WARNING" in Seen(shown).words
    assert _COLOURS["warning"][0] in shown


def test_findings_stand_under_their_cause_and_a_list_stays_a_list():
    cause = finding("cause", "EG202", Severity.WARNING)
    follows = finding("follows", "EG301", because_of="EG202")
    found = Findings([follows, cause])
    words = found._repr_markdown_().splitlines()
    at = [next(i for i, line in enumerate(words) if f"EG{code}" in line) for code in (202, 301)]
    assert at[0] < at[1]
    assert words[at[0]].startswith("- **WARNING**")
    assert words[at[1]].startswith("  - **CRITICAL**")
    assert found == [follows, cause]
    assert isinstance(found, list)
    assert json.loads(json.dumps([each.code for each in found[:1]])) == ["EG301"]
    assert "No findings" in Findings()._repr_html_()


def test_of_very_many_findings_the_first_are_shown():
    many = Findings(finding(str(number), f"X{number}") for number in range(500))
    assert many._repr_html_().count("CRITICAL") == 60
    assert "and 440 more" in many._repr_markdown_()


def test_nan_is_shown_as_nan():
    shown = finding("x", evidence={"loss": math.nan, "norms": [1.0, math.nan]})
    for text in (shown._repr_html_(), shown._repr_markdown_()):
        assert "NaN" in text
        assert "1, NaN" in text


def test_a_run_shows_its_verdict_and_a_small_figure(tmp_path):
    write_collapsed(tmp_path / "run")
    run = eg.load(tmp_path / "run")
    shown = Seen(run._repr_html_())
    assert shown.tags <= TAGS
    assert {"EG301", "CRITICAL"} <= set(re.findall(r"\w+", " ".join(shown.words)))
    assert shown.words[0] == "CRITICAL"
    assert "Does not learn" in run._repr_markdown_().splitlines()[0]
    assert isinstance(run.findings, list)
    figure = loss_figure(run)
    assert figure.layout.height == 240
    assert list(figure.data[0].y)


def test_the_reports_show_themselves(tmp_path):
    def build(settings):
        model = torch.nn.Linear(4, 4)
        optimizer = torch.optim.SGD(model.parameters(), settings["lr"])

        def step():
            loss = (model(torch.randn(8, 4)) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return model, optimizer, step

    explained = eg.explain(build, failing={"lr": 1e4}, healthy={"lr": 0.1}, out=tmp_path / "out", seeds=1, steps=20)
    log = tmp_path / "<b>.csv"
    log.write_text("step,val_loss,i2t_r1\n" + "\n".join(f"{s},4.85203,0.0003351206" for s in range(3)))
    rows = torch.eye(4).repeat(2, 1).numpy()
    np.savez(tmp_path / "rows.npz", image=rows, text=rows)
    evaluated = eg.evaluate(tmp_path / "rows.npz", with_curve=False)
    tiny_training.train(tmp_path / "run", steps=25)
    shown = {
        "explanation": (explained, "lr"),
        "check": (eg.check(lambda: (torch.nn.Linear(4, 2), torch.randn(8, 4))), "modules"),
        "audit": (eg.audit(log), "<b>.csv"),
        "evaluation": (evaluated, "DUPLICATES"),
        "diagnosis": (eg.diagnose(tmp_path / "run"), "EG301"),
    }
    for name, (report, word) in shown.items():
        seen = Seen(report._repr_html_())
        assert seen.tags <= TAGS, name
        assert word in " ".join(seen.words), name
        assert report._repr_markdown_().startswith("- **"), name
