"""The file of what is known: written, read, compared, refused."""

from __future__ import annotations

import json

import pytest

from edgeglass_diag.gate.known import compare, read_baseline, write_baseline
from edgeglass_diag.gate.results import Result
from edgeglass_diag.records import UsageError


def found(code, site="", severity="warning"):
    return Result(code, "name", severity, site, "said", fingerprint=f"{code}/{site}")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "new folder" / "baseline.json"


def test_what_is_new_worse_and_gone(file):
    write_baseline(file, [found("EG2", "b"), found("EG1"), found("EG2", "a")], "edgeglass-diag check x.py")
    assert [(entry.code, entry.site) for entry in read_baseline(file)] == [("EG1", ""), ("EG2", "a"), ("EG2", "b")]
    now = [found("EG1", severity="critical"), found("EG2", "a", severity="info"), found("EG3")]
    seen = compare(now, read_baseline(file))
    assert [each.code for each in seen.new] == ["EG3"]
    assert [each.code for each in seen.worse] == ["EG1"]
    assert [(each.code, each.site) for each in seen.gone] == [("EG2", "b")]


def test_the_file_is_the_same_in_whatever_order_things_were_found(file):
    some = [found("EG2", "b"), found("EG1"), found("EG2", "a"), found("EG1")]
    write_baseline(file, some, "command")
    first = file.read_text()
    write_baseline(file, some[::-1], "command")
    assert file.read_text() == first
    assert json.loads(first)["command"] == "command"
    assert len(json.loads(first)["findings"]) == 3


def test_what_is_no_baseline_is_one_clear_error(file):
    with pytest.raises(UsageError, match=r"no such file: .*baseline.json; --update-baseline writes it"):
        read_baseline(file)
    write_baseline(file, [found("EG1")], "")
    good = json.loads(file.read_text())
    entry = good["findings"][0]
    for content, said in (
        ("step,loss\n1,2\n", "expected a baseline of findings, got what cannot be read"),
        ("[]", "expected 'edgeglass-diag findings baseline' in 'format'"),
        (json.dumps({**good, "format": "edgeglass-diag init certificates"}), "expected 'edgeglass-diag findings"),
        (json.dumps({**good, "version": 2}), "expected version 1, got 2; write it anew with --update-baseline"),
        (json.dumps({**good, "version": None}), "expected version 1, got None"),
        (json.dumps({**good, "findings": [{**entry, "code": 7}]}), "findings.0.code: Input should be a valid string"),
        (json.dumps({**good, "findings": [{**entry, "severity": "sad"}]}), "findings.0.severity: Input should be"),
        (json.dumps({"format": good["format"], "version": 1}), "command: Field required"),
    ):
        file.write_text(content)
        with pytest.raises(UsageError) as error:
            read_baseline(file)
        assert said in str(error.value)
        assert str(file) in str(error.value)


def test_what_is_there_and_no_baseline_is_left_as_it_is(tmp_path):
    log = tmp_path / "healthy.csv"
    log.write_text("step,loss")
    with pytest.raises(UsageError, match="no baseline of findings; it is left as it is"):
        write_baseline(log, [], "run")
    assert log.read_text() == "step,loss"
