"""What is read of all sites at all steps is bounded in memory, and the same as when it is read at once."""

import numpy as np
import pytest

from edgeglass_dashboards.overlaid import overlaid
from edgeglass_dashboards.view import View
from edgeglass_diag.figures.of_run import profile_at
from edgeglass_diag.partings import partings
from edgeglass_diag.records import Reading, Window
from edgeglass_diag.signals.activations import ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.sites import ModuleSite
from edgeglass_diag.store import Run, RunWriter, load, pieces

SITES = [f"s{number}" for number in range(12)]
CELLS = 60


def write(folder, *, every=1, parts_at=200):
    """A run of 300 steps whose sites part from others one after the other, and are NaN and missing at times."""
    writer, random = RunWriter(folder, name=folder.name, header={}), np.random.default_rng(0)
    known = tuple(ModuleSite(path=site, order=place) for place, site in enumerate(SITES))
    for step in range(0, 300, every):
        values = np.random.default_rng(step).normal(size=len(SITES)) + 3.0
        values[step % 7 == 0 and step % 12] = np.nan
        values[[place for place in range(len(SITES)) if step >= parts_at + place]] *= 1.5 + random.random()
        readings = [
            Reading(step, site, signal, (float(value),))
            for signal in (GRADIENT_NORM, ACTIVATION_SAMPLE_SIGNAL)
            for site, value in zip(SITES, values, strict=True)
            if (step + len(site)) % 5
        ]
        writer.write(Window(step, tuple(readings), sites=known if step == 0 else ()))
    writer.finish("finished", {})
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pieces")
    return write(root / "one", parts_at=10**9), write(root / "other", every=3)


@pytest.fixture
def largest(monkeypatch):
    """The cells of each matrix that is read."""
    found, read = [0], Run.matrix

    def counted(run, *arguments, **options):
        matrix = read(run, *arguments, **options)
        found.append(matrix.count.size)
        return matrix

    monkeypatch.setattr(Run, "matrix", counted)
    return lambda: max(found)


def compared(folders):
    with load(folders[0]) as one, load(folders[1]) as other:
        return partings([one, other])


def drawn(folders):
    with load(folders[0]) as one, load(folders[1]) as other:
        found = overlaid(View.parse("?show=gradient/norm"), {"one": one, "other": other}).lines
    return [(line.name, line.steps.tolist(), [repr(value) for value in line.values.tolist()]) for line in found]


@pytest.mark.parametrize("read", [compared, drawn])
def test_in_pieces_is_as_at_once(folders, monkeypatch, largest, read):
    whole = read(folders)
    assert largest() > CELLS
    monkeypatch.setattr(pieces, "MOST_CELLS", CELLS)
    assert read(folders) == whole


@pytest.mark.parametrize("read", [compared, drawn])
def test_no_piece_has_more_cells_than_its_bound(folders, monkeypatch, largest, read):
    monkeypatch.setattr(pieces, "MOST_CELLS", CELLS)
    assert read(folders)
    assert largest() <= CELLS


def test_the_partings_are_those_that_were_written(folders):
    found = compared(folders).found
    firsts = {(each.signal, each.site): each.differs for each in found}
    assert len(firsts) == 2 * len(SITES)
    assert all(200 <= step < 230 for step in firsts.values())


def test_the_spans_hold_each_step_once(folders, monkeypatch):
    monkeypatch.setattr(pieces, "MOST_CELLS", CELLS)
    with load(folders[0]) as one, load(folders[1]) as other:
        found = pieces.spans([one, other], GRADIENT_NORM, len(SITES))
    assert len(found) > 50
    assert [step for first, last in found for step in range(first, last + 1)] == list(range(300))


def test_the_profile_at_a_step_reads_that_step_alone(folders, largest):
    with load(folders[0]) as run:
        step, stages = profile_at(run, 151)
    assert (step, largest()) == (151, len(SITES))
    assert [stage.site for stage in stages] == [site for site in SITES if (151 + len(site)) % 5]
