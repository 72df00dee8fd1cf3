"""Findings by norms where ranks hold parts of parameters and the record of one ends before the others."""

from dataclasses import dataclass, field

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.ranks_judge import WholeParameters
from edgeglass_diag.sites import ParameterSite


@dataclass
class Record:
    """The record of a rank that holds a part of one weight, without readings."""

    last_step: int
    cuts: tuple = ()
    sites: list = field(default_factory=lambda: [ParameterSite(path="weight", shape=(4, 2), local_shape=(2, 2))])

    def kept_windows(self):
        return iter(())

    def readings(self, signal, **_):
        return []


def found(code, step, severity=Severity.CRITICAL):
    return Finding(code, "name", severity, "weight", step, "Gradient explodes", {}, "")


def told(records, found_by_rank):
    return WholeParameters({}).findings(records, found_by_rank, windows=4, ended=False)


def test_what_one_rank_finds_behind_the_last_step_of_all_stands_by_its_part():
    by_rank = {0: [found("EG202", 5), found("EG201", 20), found("EG301", 20)], 1: []}
    findings = {finding.code: finding for finding in told({0: Record(30), 1: Record(10)}, by_rank)}
    assert set(findings) == {"EG201", "EG301"}, "what lies before it is judged whole"
    assert findings["EG201"].severity is Severity.WARNING
    said = "; by the part that the rank holds, as the record of rank 1 ends at step 10"
    assert said in findings["EG201"].message
    assert findings["EG301"].severity is Severity.CRITICAL
    assert "part" not in findings["EG301"].message


def test_of_records_of_equal_length_no_part_speaks_for_the_whole():
    assert told({0: Record(30), 1: Record(30)}, {0: [found("EG201", 20)], 1: []}) == []


def test_a_rank_without_a_record_is_named():
    (finding,) = told({0: Record(30), 1: Record(-1)}, {0: [found("EG201", 20)], 1: []})
    assert "as the record of rank 1 has no step" in finding.message
