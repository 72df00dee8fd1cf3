"""What the ranks of a sharded training show: by all parts together, by one alone, and where a parameter comes from."""

import pytest

from edgeglass_diag.records import Finding, Reading, Severity, Window
from edgeglass_diag.rules.choice import header_of
from edgeglass_diag.rules.zero_gradients import ZeroGradient
from edgeglass_diag.signals.parameters import GRADIENT_NORM, UPDATE_RATIO, WEIGHT_NORM
from edgeglass_diag.sites import ParameterSite
from edgeglass_diag.store import RunWriter, load
from tests.helpers import rank_programs

FOUND = Finding(
    "EG007", "zero-gradient", Severity.CRITICAL, "w", 10, "Gradient is always zero: that of w", sites=("w",)
)


def write(folder, rank, steps, gradient, found=None):
    place = folder / f"rank-{rank}" if rank else folder
    store = RunWriter(place, name="run", header={"rank": rank, "world_size": 2} | header_of([ZeroGradient()]))
    sites = tuple(ParameterSite(path=path, shape=(4, 4), local_shape=(2, 4)) for path in ("w", "v"))
    for step in range(steps):
        values = {("w", GRADIENT_NORM): gradient, ("v", GRADIENT_NORM): 1.0, ("w", WEIGHT_NORM): 1.0}
        values |= {("v", WEIGHT_NORM): 1.0, ("v", UPDATE_RATIO): 0.1}
        readings = [Reading(step, site, signal, (value,)) for (site, signal), value in values.items()]
        new = [found] if found is not None and step == found.step else []
        store.write(Window(step, tuple(readings), sites if step == 0 else ()), new)
    store.finish("finished", {})


def test_what_a_rank_finds_behind_the_last_step_of_all_stands_by_its_part(tmp_path):
    write(tmp_path, 0, 16, 0.0, FOUND)
    write(tmp_path, 1, 8, 1.0)
    with load(tmp_path) as run:
        (found,) = (each for each in run.findings if each.code == "EG007")
    assert "by the part that the rank holds, as the record of rank 1 ends at step 7 (rank 0 only)" in found.message
    assert found.severity is Severity.WARNING


def test_what_all_ranks_have_recorded_is_judged_whole(tmp_path):
    """The other part of the weight has a gradient."""
    write(tmp_path, 0, 16, 0.0, FOUND)
    write(tmp_path, 1, 16, 1.0)
    with load(tmp_path) as run:
        assert "EG007" not in {each.code for each in run.findings}


@pytest.mark.parametrize(
    ("name", "codes"), [("drawn_twice", {"EG001", "EG004"}), pytest.param("drawn_once", set(), marks=pytest.mark.long)]
)
def test_a_shard_comes_from_where_its_parameter_comes_from(command_server, tmp_path, name, codes):
    ended = command_server.call(rank_programs.train_together, name, str(tmp_path), {"rules": ["EG0"]})
    assert ended.returncode == 0, ended.stderr
    with load(tmp_path / "run") as run:
        assert {each.code for each in run.findings} == codes
