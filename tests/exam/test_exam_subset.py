"""Some cases of the exam from end to end: training, truth, record, judgement."""

import pytest

from edgeglass_models.exam.cache import Cache
from edgeglass_models.exam.cases import chosen, programs
from edgeglass_models.exam.pool import import_for
from edgeglass_models.exam.runner import Exam
from edgeglass_models.exam.truth import Truth

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("default")]

CASES = {
    "simclr:double-softmax": {Truth.ILL, Truth.UNCLEAR, Truth.HARMLESS},
    "simclr:learning-rate-of-zero": {Truth.ILL},
    "simclr:weights-zero": {Truth.ILL},
    "simclr:biases-left-out": {Truth.HARMLESS, Truth.UNCLEAR},
}


def test_cases_come_out_as_what_they_are(tmp_path):
    twins, cases = chosen(list(CASES), "all")
    assert import_for([programs()["simclr"]]) == {}
    results = Exam(Cache(tmp_path), jobs=2, seeds=1, say=lambda _: None).run(twins, cases)
    truths = {result.name: result.truth for result in results}
    assert truths.pop("simclr:healthy") is None
    assert truths.keys() == CASES.keys()
    assert all(truth in CASES[name] for name, truth in truths.items()), truths
    assert all(result.first is not None and not result.first.failures for result in results)
