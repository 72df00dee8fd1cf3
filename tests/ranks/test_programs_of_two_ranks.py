"""Two processes on gloo: each fault that only both ranks together show is named with its rank; healthy ones are silent.

A handful is tried in ``make test``, the others in ``make test-long``.
"""

import pytest

from edgeglass_diag.records import Severity
from edgeglass_diag.rules.ranks_judge import RANK_RULES
from edgeglass_diag.store import load
from tests.helpers import rank_programs
from tests.helpers.rank_programs import ALSO_HEALTHY, FAULTS, HEALTHY

CODES = {rule.code for rule in RANK_RULES}
QUICK = {"unused_parameter", "state_on_rank_0", "labels_without_offset", "zero_redundancy", "gathered_negatives"}


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
