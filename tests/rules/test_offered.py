"""Rules of other packages, thresholds on the command line, and the page of documentation."""

import sys
from pathlib import Path

import pytest

from edgeglass_diag.records import UsageError
from edgeglass_diag.rules import CATALOGUE, all_rules, configured, find_rule
from edgeglass_diag.rules.document import rule_page, rules_document

MODULE = '''
from dataclasses import dataclass
from edgeglass_diag.records import Severity
from edgeglass_diag.rules import Rule
from edgeglass_diag.signals.losses import LOSS_TOTAL

@dataclass(frozen=True)
class TooQuiet(Rule):
    """The loss is below a limit.

    Why: for the test.

    Formula: loss < ``limit``.
    """

    limit: float = 0.5

    code, name, title, severity = "{code}", "too-quiet", "Loss too low", Severity.WARNING
    source, fix = "a test", "nothing"

    def check(self, history):
        total = history.series(LOSS_TOTAL)
        if len(total) and total.last < self.limit:
            yield self.finding(history, "it is small", evidence={{"loss": total.last}})
'''


UNTITLED = '''

class Untitled(Rule):
    """A rule without a title."""

    code, name, severity, source, fix = "QQ002", "untitled", Severity.INFO, "a test", "nothing"
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a distribution with one entry point, as pip lays it out."""

    def install(value, code="QQ001"):
        name = f"quiet_rules_{abs(hash((str(tmp_path), value, code)))}"
        (tmp_path / f"{name}.py").write_text(MODULE.format(code=code) + UNTITLED)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[edgeglass_diag.rules]\nours = {name}{value}\n")
        monkeypatch.syspath_prepend(tmp_path)
        return name

    yield install
    for name in [n for n in sys.modules if n.startswith("quiet_rules_")]:
        del sys.modules[name]


def test_a_rule_of_another_package_runs_is_configured_and_explained(package):
    package(":TooQuiet")
    assert [rule.code for rule in all_rules()] == [*(rule.code for rule in CATALOGUE), "QQ001"]
    rules = {rule.code: rule for rule in configured({"QQ001": {"limit": 0.1}})}
    assert rules["QQ001"].thresholds == {"limit": 0.1}
    assert [rule.code for rule in configured({}, select=["QQ"])] == ["QQ001"]
    assert "Formula: loss < ``limit``." in rule_page(find_rule("QQ001"))


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (":TooQuiet", "EG301", "the code EG301 is that of ConstantEmbeddings already"),
        (":Missing", "QQ001", "cannot be loaded: AttributeError"),
        (":dataclass", "QQ001", "expected a Rule with a code or several of them"),
        (":Untitled", "QQ001", "Untitled has no title"),
    ],
)
def test_what_is_no_rule_is_named_with_its_package(package, value, code, message):
    name = package(value, code)
    with pytest.raises(UsageError) as caught:
        all_rules()
    assert message in str(caught.value)
    assert name in str(caught.value)


def test_thresholds_on_the_command_line_go_before_those_of_the_table():
    table = {"EG301": {"signal": 0.5, "nats": 0.25}}
    rules = {rule.code: rule for rule in configured(table, thresholds=["EG301.signal=0.02"])}
    assert (rules["EG301"].thresholds["signal"], rules["EG301"].thresholds["nats"]) == (0.02, 0.25)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("EG301", "expected CODE.name=value, e.g. EG301.signal=0.02, got 'EG301'"),
        ("EG999.signal=1", "no rule 'EG999'"),
        ("EG301.sgnal=1", "no threshold 'sgnal'; it has: dead_signal, nats, signal, steps, windows"),
        ("EG301.signal=x", "expected a number, got 'x'"),
        ("EG301.steps=2.5", "--threshold EG301.steps=2.5: steps counts, expected an integer, got 2.5"),
    ],
)
def test_wrong_thresholds_are_named(word, message):
    with pytest.raises(UsageError) as caught:
        configured({}, thresholds=[word])
    assert message in str(caught.value)


def test_the_page_of_rules_is_that_of_the_code():
    assert Path("docs/rules.md").read_text(encoding="utf-8") == rules_document(), "run make docs"
