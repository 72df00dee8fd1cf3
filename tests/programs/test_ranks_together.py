"""The stores of several ranks, and their findings read as those of one run."""

import os
from dataclasses import replace

import pytest

from edgeglass_diag.programs.options import ProcessOptions
from edgeglass_diag.programs.rank_store import open_store
from edgeglass_diag.ranks import merge_findings
from edgeglass_diag.records import Finding, Severity, Window
from edgeglass_diag.store import RunWriter, load


def finding(code, step, severity=Severity.WARNING):
    return Finding(code, "name", severity, "site", step, "says so")


def test_findings_of_ranks_are_told_once(tmp_path):
    options = ProcessOptions(str(tmp_path / "run"), 10, {})
    main = RunWriter(tmp_path / "run", name="run", header={"program": {}})
    stores = [open_store(options, rank) for rank in (0, 1, 2)]
    stores[0].write(Window(4, ()), [finding("EG001", 4)])
    stores[1].write(Window(4, ()), [finding("EG001", 3, Severity.CRITICAL), finding("EG801", 4)])
    stores[2].write(Window(4, ()), [finding("EG001", 4), finding("EG801", 4)])
    for store in (main, *stores):
        store.finish("finished", {})
    with load(tmp_path / "run") as run:
        assert [(f.code, f.step, f.severity, f.message) for f in run.findings] == [
            ("EG001", 3, Severity.CRITICAL, "says so"),
            ("EG801", 4, Severity.WARNING, "says so (ranks 1, 2 only)"),
        ]


def test_ranks_that_saw_another_layer_first_have_one_finding():
    def of(*sites):
        return replace(finding("EG801", 4), site=sites[0], sites=sites)

    (merged,) = merge_findings({0: [of("blocks.1", "blocks.0")], 1: [of("blocks.2", "blocks.0")]})
    assert (merged.site, merged.sites) == ("blocks.1", ("blocks.1", "blocks.0", "blocks.2"))
    assert merged.message == "says so"
    older = [replace(finding("EG801", 4), site=site) for site in ("blocks.0", "blocks.1")]
    assert merge_findings({0: older}) == older  # without lists of sites


@pytest.mark.parametrize("noted", [True, False])
def test_a_rank_that_is_taken_leaves_the_process_id_as_the_name(tmp_path, noted):
    options = ProcessOptions(str(tmp_path / "run"), 10, {})
    main = RunWriter(tmp_path / "run", name="run", header={"rank": 0} if noted else {})
    stores = [open_store(options, 0) for _ in range(1 if noted else 2)]
    assert {p.name for p in (tmp_path / "run").glob("rank-*")} == {
        f"rank-{os.getpid()}",
        *([] if noted else ["rank-0"]),
    }
    for store in (main, *stores):
        store.finish("finished", {})
