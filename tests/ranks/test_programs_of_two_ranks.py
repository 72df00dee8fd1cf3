"""Two processes on gloo: each fault that only both ranks together show is named with its rank; healthy ones are silent.

A handful is tried in ``make test``, the others in ``make test-long``.
"""

import pytest

from edgeglass_diag.records import RunStatus, Severity
from edgeglass_diag.rules.ranks_judge import RANK_RULES
from edgeglass_diag.run_summary import run_summary
from edgeglass_diag.run_verdict import run_verdict
from edgeglass_diag.store import load
from tests.helpers import rank_programs
from tests.helpers.rank_programs import ALSO_HEALTHY, FAULTS, HEALTHY

CODES = {rule.code for rule in RANK_RULES}
QUICK = {
    "step_left_out_on_rank_1",
    "unused_parameter",
    "state_on_rank_0",
    "labels_without_offset",
    "zero_redundancy",
    "gathered_negatives",
}


def cases(names):
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in names]


@pytest.fixture
def found(command_server, tmp_path):
    def found(name):
        ended = command_server.call(rank_programs.train_together, name, str(tmp_path))
        assert ended.returncode == 0, ended.stderr
        with load(tmp_path / "run") as run:
            assert len(run.ranks) == 2
            return {finding.code: finding for finding in run.findings if finding.code in CODES}

    return found


@pytest.mark.parametrize("name", cases(FAULTS))
def test_a_fault_is_named_with_its_rank(found, name):
    code, ranks = FAULTS[name]
    findings = found(name)
    assert code in findings, findings
    assert set(findings[code].evidence["ranks"]) == ranks, findings[code]
    assert "rank" in findings[code].message
    causes = {f.code for f in findings.values() if f.because_of is None and f.severity is not Severity.INFO}
    assert causes <= {code}, findings


@pytest.mark.parametrize("name", cases((*HEALTHY, *ALSO_HEALTHY)))
def test_a_healthy_program_is_silent(found, name):
    assert found(name) == {}


@pytest.mark.long
def test_what_nan_on_one_rank_brings_is_told_below_it(command_server, tmp_path):
    ended = command_server.call(rank_programs.train_together, "nan_on_rank_1", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    with load(tmp_path / "run") as run:
        roots = [f.code for f in run.findings if f.because_of is None and f.severity is Severity.CRITICAL]
        assert roots == ["EG827"], run.findings
        assert "EG801" in {f.code for f in run.findings if f.because_of == "EG827"}


@pytest.mark.parametrize("how", ["raises", pytest.param("is_killed", marks=pytest.mark.long)])
def test_the_rank_that_ended_first_is_named_with_its_error(command_server, tmp_path, how):
    command_server.call(rank_programs.end_on_rank_1, how, str(tmp_path))
    with load(tmp_path / "run") as run:
        assert run.status is RunStatus.FAILED
        said = {"raises": "5 steps: ValueError: label 17", "is_killed": "at least "}[how]
        assert run.failure.startswith(f"rank 1 ended after {said}")
        assert "rank 0 failed behind it" in run.failure
        assert run_verdict(run).model.startswith(f"The run failed: {run.failure}. ")
        assert run_summary(run)["error"] == run.failure


@pytest.mark.long
def test_of_ranks_that_are_killed_together_none_is_named(command_server, tmp_path):
    command_server.call(rank_programs.end_on_rank_1, "are_killed", str(tmp_path))
    with load(tmp_path / "run") as run:
        assert run.status is RunStatus.FAILED
        assert run.failure.startswith("all 2 ranks were ended together after at least ")


@pytest.mark.long
def test_norms_of_shards_are_judged_as_those_of_whole_parameters(command_server, tmp_path):
    """Half of a weight, the part of one rank, has no gradient; and one that has none at all is named."""
    for name in ("half_without_gradient", "whole_without_gradient"):
        ended = command_server.call(rank_programs.train_together, name, str(tmp_path / name), {"rules": ["EG0"]})
        assert ended.returncode == 0, ended.stderr
        with load(tmp_path / name / "run") as run:
            found = {f.code for f in run.findings if f.severity is not Severity.INFO}
            assert found == (set() if name.startswith("half") else {"EG007"}), run.findings
