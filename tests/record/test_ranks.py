"""Two processes that train together, with DDP and with FSDP2, and the same training in one."""

import json

import pytest

from edgeglass_diag.sites import Coverage
from edgeglass_diag.store import load
from tests.helpers.ranks import train_together


@pytest.fixture(scope="module")
def run(command_server):
    def run(kind, world, folder):
        ended = command_server.call(train_together, kind, world, str(folder))
        assert ended.returncode == 0, ended.stderr
        return [json.loads((folder / f"{kind}-{rank}.json").read_text()) for rank in range(world)]

    return run


def norms(content, signal="gradient/norm"):
    return {(step, site): value[0] for step, site, name, value in content["readings"] if name == signal}


@pytest.fixture(scope="module")
def single(run, tmp_path_factory):
    return run("plain", 1, tmp_path_factory.mktemp("single"))[0]


def test_ddp_gradients_are_those_of_the_whole_batch_on_every_rank(run, single, tmp_path):
    ranks = run("ddp", 2, tmp_path)
    for content in ranks:
        assert [site for site in content["sites"] if site["coverage"] != Coverage.OBSERVED] == []
        for signal in ("gradient/norm", "gradient/norm_clipped", "gradient/clip_factor", "weight/norm"):
            assert norms(content, signal) == pytest.approx(norms(single, signal), rel=1e-5), signal


def test_fsdp_shards_make_up_the_whole_norm_without_communication(run, single, tmp_path):
    ranks = run("fsdp", 2, tmp_path)
    for content in ranks:
        assert [site for site in content["sites"] if site["coverage"] != Coverage.OBSERVED] == []
    for signal in ("gradient/norm", "gradient/norm_clipped", "weight/norm"):
        first, second = (norms(content, signal) for content in ranks)
        whole = {key: (value**2 + second[key] ** 2) ** 0.5 for key, value in first.items()}
        assert whole == pytest.approx(norms(single, signal), rel=1e-5), signal
    with load(tmp_path / "fsdp") as merged:
        frame = merged.frame("gradient/norm")
    assert set(frame["rank"]) == {0, 1}
    for _, rows in frame.groupby("rank"):
        whole = {(row.step, row.site): row.value for row in rows.itertuples()}
        assert whole == pytest.approx(norms(single), rel=1e-5)
    (weight,) = (site for site in ranks[0]["sites"] if site["path"] == "3.weight")
    assert (weight["shape"], weight["local_shape"]) == ([5, 16], [3, 16])
