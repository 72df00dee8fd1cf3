"""Drawn logs of ordinary trainings in six formats: faulty ones are concluded, healthy ones are silent."""

import numpy as np
import pytest

from edgeglass_diag.auditing.report import audit
from edgeglass_diag.records import Severity
from tests.audit.drawn.faulty import FAULTY
from tests.audit.drawn.formats import FORMATS
from tests.audit.drawn.healthy import HEALTHY

PER_KIND = 16


def concluded(make, form, seed, folder):
    """Return what is said, from a warning on, of a training drawn from a seed, and what was expected."""
    random = np.random.default_rng(seed)
    training = make(random)
    folder.mkdir(parents=True)
    report = audit(FORMATS[form](training, folder, random))
    return [f for f in report.conclusions if f.severity is not Severity.INFO], training.expected


def draws(form, kinds, seeds, folder):
    """Yield the kind, what is said and what was expected of each drawn log."""
    for seed in seeds:
        make = kinds[seed % len(kinds)]
        found, expected = concluded(make, form, [seed, sorted(FORMATS).index(form)], folder / f"{make.__name__}-{seed}")
        yield make.__name__, found, expected


@pytest.mark.parametrize("form", FORMATS)
def test_four_of_a_kind(form, tmp_path):
    first = sorted(FORMATS).index(form) * 4
    for kind, found, expected in draws(form, FAULTY, range(first, first + 4), tmp_path / "faulty"):
        assert expected & {f.code for f in found}, kind
    for kind, found, _ in draws(form, HEALTHY, range(first, first + 4), tmp_path / "healthy"):
        assert [f.message for f in found] == [], kind


@pytest.mark.long
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("block", range(3))
def test_sixteen_of_each(form, block, tmp_path):
    seeds = range(1000 + 16 * block, 1016 + 16 * block)
    faulty = list(draws(form, FAULTY, seeds, tmp_path / "faulty"))
    missed = [kind for kind, found, expected in faulty if not expected & {f.code for f in found}]
    assert len(missed) <= 1, missed
    healthy = list(draws(form, HEALTHY, seeds, tmp_path / "healthy"))
    assert [(kind, f.message) for kind, found, _ in healthy for f in found] == []
