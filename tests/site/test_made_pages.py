"""The pages that the site makes of the code, and the check of the links of a site that is built."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import edgeglass_diag as eg
from edgeglass_diag.auditing.catalogue import CONCLUSIONS
from edgeglass_diag.rules.catalogue import own_rules
from edgeglass_diag.signals.registry import registered

SITE = Path(__file__).parents[2] / "docs" / "site"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(SITE)
    return importlib.import_module


def paths_of(navigation):
    if isinstance(navigation, str):
        return [navigation]
    inner = navigation.values() if isinstance(navigation, dict) else navigation
    return [path for each in inner for path in paths_of(each)]


def test_every_rule_has_a_page_with_its_text(module):
    pages = module("rule_pages").pages()
    for rule in own_rules():
        text = pages[f"rules/{rule.code}.md"]
        assert text.startswith(f"# {rule.code} {rule.name}\n")
        assert all(f"`{name}`" in text for name in rule().thresholds)
        assert text.count("```") % 2 == 0
    assert {f"rules/{one.code}.md" for one in CONCLUSIONS} <= set(pages)


def test_what_can_bring_a_rule_is_linked_from_both_sides(module):
    pages = module("rule_pages").pages()
    assert "[EG301](EG301.md)" in pages["rules/EG401.md"].partition("**Can follow from:**")[2]
    assert "[EG401](EG401.md)" in pages["rules/EG301.md"].partition("**Can bring:**")[2]


def test_the_index_links_every_page_of_a_rule(module):
    pages = module("rule_pages")
    assert set(re.findall(r"\]\((EG\d{3})\.md\)", pages.index(""))) == pages.codes()


def test_every_signal_has_a_page_that_names_its_rules(module):
    pages = module("signal_pages").pages()
    assert set(pages) == {f"signals/{signal}.md" for signal in registered()}
    assert "(../../rules/EG101.md)" in pages["signals/attention/entropy.md"]


def test_every_verb_and_every_public_name_has_a_page(module):
    verbs, names = module("command_pages").pages(), module("api_pages").pages()
    assert "* `--stop-on" in verbs["cli/run.md"]
    public = {name for name in eg.__all__ if not name.startswith("_")}
    own = {path for path in names if not path.startswith("api/integrations/")}
    assert {Path(path).stem for path in own} - {"index"} == public
    integrations = {"accelerate", "ignite", "lightning", "transformers"}
    assert {Path(path).stem for path in names.keys() - own} == integrations
    assert all(f"integrations/{name}.md" in names["api/index.md"] for name in integrations)
    assert "::: edgeglass_diag.watch\n" in names["api/watch.md"]


@pytest.mark.parametrize("name", ["rule_pages", "signal_pages", "command_pages", "api_pages"])
def test_the_navigation_has_every_made_page_once(module, name):
    made = module(name)
    listed = paths_of(made.navigation())
    assert len(listed) == len(set(listed))
    assert set(made.pages()) <= set(listed)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('<a href="b/">b</a><a href="b/#here">b</a><a href="https://example.org/x">far</a>', None),
        ('<a href="c/">c</a>', "index.html: c/: no such page"),
        ('<a href="b/#there">b</a>', "index.html: b/#there: no such anchor"),
        ('<a href="../../etc/passwd">up</a>', "index.html: ../../etc/passwd: no such page"),
        ('<img src="none.png">', "index.html: none.png: no such page"),
        ('<script src="https://example.org/x.js"></script>', "index.html: fetches https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "index.html: fetches //example.org/x.css"),
    ],
)
def test_links_that_lead_nowhere_and_what_is_fetched_are_named(module, tmp_path, content, fault):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/index.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "index.html").write_text(content)
    assert list(module("links").faults(tmp_path)) == ([] if fault is None else [fault])


def test_a_style_that_fetches_a_font_is_named(module, tmp_path):
    (tmp_path / "x.css").write_text('@import "https://example.org/a.css"; b { src: url(//example.org/f.woff2) }')
    found = list(module("links").faults(tmp_path))
    assert found == ["x.css: fetches https://example.org/a.css", "x.css: fetches //example.org/f.woff2"]


@pytest.mark.parametrize("name", ["rule_pages", "answers"])
def test_the_examples_in_the_docstrings_hold(module, name):
    done = doctest.testmod(module(name))
    assert (done.failed, done.attempted > 0) == (0, True)
