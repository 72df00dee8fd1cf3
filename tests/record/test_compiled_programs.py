"""What torch.compile does for programs as people write them: watched no more than unwatched, and the same numbers."""

import pytest
import torch

from edgeglass_diag.record.compiled_calls import CompiledCalls
from edgeglass_diag.record.function_mode import FunctionMode
from edgeglass_diag.record.module_hooks import ModuleHooks
from edgeglass_diag.render.coverage import SENTENCES
from edgeglass_diag.sites import Coverage, Kind
from tests.helpers import compiled_programs as programs
from tests.helpers.compiled_programs import BLOCKS, PROGRAMS, WHEN, Block, TorchBlock, train

_QUICK = {
    (programs.module_compile, Block, "warm"),
    (programs.model_and_loss, Block, "before"),
    (programs.forward_and_backward, Block, "before"),
    (programs.optimizer_step, Block, "warm"),
}
CASES = [
    pytest.param(
        program,
        block,
        when,
        marks=() if (program, block, when) in _QUICK else pytest.mark.long,
        id=f"{program.__name__}-{block.__name__}-{when}",
    )
    for program in PROGRAMS
    for block in BLOCKS
    for when in WHEN
]
pytestmark = pytest.mark.filterwarnings("ignore")  # those of torch.compile itself, which vary


@pytest.fixture(autouse=True)
def without_compiled_code():
    yield
    torch._dynamo.reset()


def coverage(windows, kind):
    return {site.path: site.coverage for window in windows for site in window.sites if site.kind is kind}


@pytest.mark.parametrize(("program", "block", "when"), CASES)
def test_a_watch_lets_torch_compile_work_no_more(program, block, when):
    plain = train(program, block=block, watched=False, when=when)
    watched = train(program, block=block, watched=True, when=when)
    assert all(map(torch.equal, plain.numbers, watched.numbers))
    more = [name for name, a, b in zip(("breaks", "frames", "graphs"), plain.work, watched.work, strict=True) if b > a]
    assert more == [], (plain.compilations, watched.compilations)
    assert len(watched.windows) >= programs.STEPS // programs.EVERY
    assert Coverage.RECORDER_FAILED not in {site.coverage for window in watched.windows for site in window.sites}
    seen = coverage(watched.windows, Kind.ATTENTION)
    attention = "attend" if block is TorchBlock else "block"
    assert any(attention in path or "OptimizedModule" in path for path in seen), seen
    assert set(seen.values()) <= {Coverage.OBSERVED, Coverage.COMPILED_ATTENTION}


@pytest.mark.long
@pytest.mark.parametrize("program", [programs.module, programs.module_compile, programs.model_and_loss])
def test_code_of_inductor_computes_the_same(program):
    plain = train(program, watched=False, backend="inductor")
    watched = train(program, watched=True, backend="inductor")
    assert all(map(torch.equal, plain.numbers, watched.numbers))
    assert watched.work == plain.work


def test_attention_in_a_compiled_function_is_said_to_be_unseen_and_what_to_do():
    watched = train(programs.model_and_loss, watched=True)
    assert coverage(watched.windows, Kind.ATTENTION) == {
        "image.block.attention": Coverage.COMPILED_ATTENTION,
        "text.block.attention": Coverage.COMPILED_ATTENTION,
    }
    assert coverage(watched.windows, Kind.MODULE)["image.block.qkv"] is Coverage.COMPILED
    assert "TORCHDYNAMO_DISABLE=1" in SENTENCES[Coverage.COMPILED_ATTENTION]


def test_what_is_to_be_done_about_unseen_attention_helps(monkeypatch):
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    watched = train(programs.module, watched=True)
    assert watched.graphs == 0
    assert set(coverage(watched.windows, Kind.ATTENTION).values()) == {Coverage.OBSERVED}


def test_attention_beside_what_is_compiled_is_observed():
    watched = train(programs.loss_function, watched=True)
    assert set(coverage(watched.windows, Kind.ATTENTION).values()) == {Coverage.OBSERVED}


@pytest.mark.parametrize("owner", [FunctionMode, ModuleHooks])
@pytest.mark.parametrize("name", ["hold", "release"])
def test_a_failure_at_the_border_of_compiled_code_harms_no_training(owner, name, monkeypatch):
    plain = train(programs.loss_function, watched=False)
    original = getattr(owner, name)

    def failing(self):
        original(self)
        raise RuntimeError("planted")

    monkeypatch.setattr(owner, name, failing)
    watched = train(programs.loss_function, watched=True)
    assert all(map(torch.equal, plain.numbers, watched.numbers))
    failed = {site.path for window in watched.windows for site in window.sites if "planted" in site.detail}
    assert failed == {"compiled"}
    assert not torch.nn.modules.module._has_any_global_hook()
    assert torch.overrides._len_torch_function_stack() == 0


class Context:
    def __init__(self, *hooks):
        self.enter_exit_hooks = [*hooks]

    def run(self):
        for end in [begin() for begin in self.enter_exit_hooks]:
            end()


def test_hooks_reach_contexts_of_before_and_leave_them_again():
    said = []
    old = Context(lambda: lambda: said.append("theirs"))
    calls = [CompiledCalls(Context, lambda: True, lambda n=n: said.append(n)) for n in (1, 2)]
    for each in calls:
        each.attach()
    new = Context()
    old.run()
    new.run()
    assert sorted(map(str, said)) == ["1", "1", "2", "2", "theirs"]
    calls[1].remove()
    calls[0].remove()
    said.clear()
    old.run()
    new.run()
    assert said == ["theirs"]
    assert "enter_exit_hooks" not in vars(Context)
    assert len(old.enter_exit_hooks) == 1
    assert new.enter_exit_hooks == []
