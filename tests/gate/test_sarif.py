"""Findings as SARIF, and what tells one finding from another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeglass_diag.catalogue import catalogue
from edgeglass_diag.gate import links
from edgeglass_diag.gate.results import CHANGED, Judged, Result, result, results
from edgeglass_diag.gate.sarif import sarif
from edgeglass_diag.records import Finding, Severity, SourceLine
from tests.helpers.sarif_schema import results_of

FINDING = Finding("EG001", "overwritten-init", Severity.INFO, "latents", 0, "drawn twice", fix="Draw once.")


def placed(file, line=2, **others):
    return replace(FINDING, place=SourceLine(str(file), line), **others)


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "my models" / "reader.py"
    file.parent.mkdir()
    file.write_text("import torch\n    latents.normal_(std=0.02)\n")
    return file


def test_a_finding_is_shown_at_its_line_with_its_level_and_the_rule_explains_itself(source, tmp_path):
    (found,) = results_of(log := sarif(results([Judged([placed(source)])]), tmp_path))
    (rule,) = log["runs"][0]["tool"]["driver"]["rules"]
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "my%20models/reader.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 2}
    assert found["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "latents"}]
    assert (found["level"], found["message"]["text"]) == ("note", "drawn twice\n\nFix: Draw once.")
    assert "Delete the write that is lost" in rule["help"]["text"]
    assert "edgeglass-diag rules EG001" in rule["help"]["text"]


@pytest.mark.parametrize(("severity", "level"), [("info", "note"), ("warning", "warning"), ("critical", "error")])
def test_levels(severity, level, tmp_path):
    (found,) = results_of(sarif(results([Judged([replace(FINDING, severity=Severity(severity))])]), tmp_path))
    assert found["level"] == level


def test_every_rule_and_conclusion_of_the_audit_can_be_shown(tmp_path):
    every = [Result(entry["code"], entry["name"], entry["severity"], "", "said") for entry in catalogue()]
    every.append(Result(CHANGED, "init-changed", "warning", "", "said"))
    found = results_of(log := sarif(every, tmp_path))
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert len(found) == len(rules) == len(every)
    assert all(rule["help"]["text"] and rule["shortDescription"]["text"] for rule in rules)


def test_a_file_outside_of_the_repository_keeps_its_place(source, tmp_path):
    (found,) = results_of(sarif(results([Judged([placed(source)])]), tmp_path / "elsewhere"))
    assert found["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": source.as_uri()}


def test_a_finding_without_a_line_is_shown_at_what_was_judged_and_code_that_was_typed_in_at_no_file(source, tmp_path):
    (found,) = results([Judged([FINDING], file=source)])
    assert (found.file, found.line) == (str(source), 0)
    (typed,) = results_of(sarif(results([Judged([placed("<stdin>")])]), tmp_path))
    assert [set(place) for place in typed["locations"]] == [{"logicalLocations"}]
    (nowhere,) = results_of(sarif(results([Judged([replace(FINDING, site="")])]), tmp_path))
    assert nowhere["locations"] == []


def test_a_fingerprint_stays_with_the_rule_the_site_and_the_text_of_the_line(source):
    known = result(placed(source), Judged(())).fingerprint
    later = replace(placed(source), step=70, message="other numbers", evidence={"std": 2.0}, severity=Severity.CRITICAL)
    assert result(later, Judged(())).fingerprint == known
    source.write_text("import torch\n\n\n" + source.read_text().splitlines()[1].strip() + "\n")
    assert result(placed(source, line=4), Judged(())).fingerprint == known
    assert result(placed(source.name, line=4), Judged((), folder=source.parent)).fingerprint == known

    others = [
        result(placed(source, line=4, code="EG002"), Judged(())),
        result(placed(source, line=4, site="pool"), Judged(())),
        result(placed(source, line=1), Judged(())),
        result(placed(source, line=4), Judged((), "perceiver")),
    ]
    assert len({known, *(other.fingerprint for other in others)}) == 5


def test_rules_link_to_the_documentation_that_the_distribution_names(monkeypatch, tmp_path):
    class Metadata:
        urls = ("Source, https://example.org/code", "Documentation, https://example.org/docs/")

        def get_all(self, _):
            return self.urls

    monkeypatch.setattr(links, "metadata", lambda _: Metadata())
    log = sarif(results([Judged([FINDING])]), tmp_path)
    results_of(log)
    assert log["runs"][0]["tool"]["driver"]["rules"][0]["helpUri"] == "https://example.org/docs/rules/EG001/"
    monkeypatch.setattr(Metadata, "urls", None)
    assert "helpUri" not in sarif(results([Judged([FINDING])]), tmp_path)["runs"][0]["tool"]["driver"]["rules"][0]
