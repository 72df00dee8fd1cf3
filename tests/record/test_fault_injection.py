"""Whatever fails in the recorder, the training goes on bit by bit as without it, and the record says that it failed."""

import gc
import random
import sys
import zlib
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from edgeglass_diag.record import Recorder
from edgeglass_diag.record.evaluation_passes import PASSES
from edgeglass_diag.sites import Coverage
from tests.helpers.fault_subject import Model, RaisesInBackward, Recursive, UserError, loss_of, written_out
from tests.helpers.faults import Fault, counted, functions_of, in_place_of
from tests.helpers.written_losses import other_losses, spelled_out

FUNCTIONS = functions_of("edgeglass_diag.record", "edgeglass_diag.measures")

DOORS = {
    "function_mode._Mode.__torch_function__",
    "module_hooks.ModuleHooks._leave",
    "recorder.Recorder.__enter__",
    "recorder.Recorder.__exit__",
    "recorder.Recorder.__init__",
    "recorder.Recorder.leave_step",
    "boundary.entry",
    "boundary.question",
    "compiled_calls.CompiledCalls.__get__",
    "compiled_calls.CompiledCalls.__set__",
    "compiled_calls.CompiledCalls._enter",
    "compiled_calls._nothing",
}
"""What Python and torch call by name; they only call what the boundary guards."""

OF_COMPILED_CODE = {
    "compiled.CompiledModules._begin_region",
    "compiled.CompiledModules._end_region",
    "compiled.CompiledModules._hold",
    "compiled.CompiledModules._release",
    "compiled._calls_flex_attention",
    "coverage.CoverageObserver._note_compiled",
    "function_mode.FunctionMode.hold",
    "function_mode.FunctionMode.release",
    "module_hooks.ModuleHooks.hold",
    "module_hooks.ModuleHooks.release",
}
"""What runs where compiled code does: tests/record/test_compiled_programs.py lets these fail."""

OF_THE_WRITING_THREAD = ("pair_inputs.PendingSamples.", "snapshots.PendingEmbeddings.", "token_texts.")
"""What is called where embeddings are written, and never in the training's thread."""

REMOVING = {
    "boundary.Boundary.take_away",
    "compiled.CompiledModules.remove",
    "event_sources.EventSources.detach",
    "function_mode.FunctionMode.detach",
    "function_mode._put_modes",
    "function_mode._replace_modes",
    "model_building.ModelBuilding.remove",
    "module_hooks.ModuleHooks.detach",
    "optimizer_steps.StepHooks.remove",
    "patching.Patch.remove",
    "recursion.RecursionRoom.take_back",
    "windows.Windows.take_away",
}
"""Where these fail each time, what they take away stays, and lets everything through."""


class Training:
    """A few steps in all the ways that are observed.

    Attributes:
        losses: of the steps, exact.
        errors: those of the user that came back, with what they were raised from.
    """

    def __init__(self, recorder=None):
        torch.manual_seed(0)
        self.losses, self.errors = [], []
        self.model, self.critic = Model(), nn.Linear(8, 1)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)
        self.other = torch.optim.SGD(self.critic.parameters(), lr=0.1)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        self.deep = Recursive()
        self.batch = torch.randn(3, 4, 6), torch.randint(0, 20, (3, 5))
        if recorder is not None:
            recorder.name_model(self.model)
            recorder.follow(self.optimizer)

    @property
    def outcome(self):
        return self.losses, self.errors, [parameter.detach() for parameter in self.model.parameters()]

    def attempt(self, action):
        try:
            action()
        except UserError as error:
            self.errors.append((str(error), error.__cause__, error.__context__))

    def closure(self, fails=False):
        self.optimizer.zero_grad()
        loss = loss_of(self.model, *self.batch)
        loss.backward()
        self.losses.append(loss.item())
        if fails:
            raise UserError("closure")
        return loss

    def scaled(self, of, overflows=False):
        loss = self.scaler.scale(of(self.model, *self.batch))
        loss.backward()
        self.losses.append(loss.item())
        if overflows:
            self.model.query.weight.grad[0, 0] = torch.inf
        self.scaler.step(self.optimizer)  # skipped where it overflows
        self.scaler.update()

    def clipped(self):
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.1)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(torch.tensor(0.5))
        self.optimizer.step()
        self.optimizer.zero_grad()

    def change_roles(self):
        """Unfreeze, replace and untie: what the optimizer does not hold stays as it is."""
        self.model.tower.requires_grad_(True)
        self.model.mix.out_proj.bias = nn.Parameter(self.model.mix.out_proj.bias.detach().clone())
        self.model.again = nn.Linear(8, 8)

    def run(self):
        self.scaled(loss_of)
        self.clipped()
        loss_of(self.model, *self.batch).backward()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.losses += [loss_of(self.model, *self.batch).item() for _ in range(PASSES + 1)]
        self.critic(self.model.text(self.batch[1])).mean().backward()
        self.scaled(other_losses)
        self.other.step()
        self.change_roles()
        self.scaled(loss_of, overflows=True)
        self.attempt(lambda: self.model(*self.batch, fails=True))
        self.attempt(lambda: RaisesInBackward.apply(loss_of(self.model, *self.batch)).backward())
        self.attempt(lambda: self.optimizer.step(lambda: self.closure(fails=True)))
        with torch.autocast("cpu", torch.bfloat16):
            self.optimizer.step(self.closure)
        self.losses.append(self.deep(self.batch[0]).item())
        self.clipped()
        self.scaled(spelled_out)
        with torch.no_grad():  # behind the last step
            self.losses.append(loss_of(self.model, *self.batch).item())
            self.losses += written_out(*self.model(*self.batch))
        return self.outcome


def watched(*, fault=None, function=None):
    """Return what a watched training made, the windows of its record, and the state of torch after it."""
    windows = []
    recorder = Recorder(
        lambda step: step != 3, windows.append, embeddings=lambda embeddings: None, samples=True, operands=True
    )
    with nullcontext() if fault is None else in_place_of(function, fault), recorder:
        outcome = Training(recorder).run()
    left = state_of_torch()
    recorder._windows.take_away()
    return outcome, [window.resolve() for window in windows], left


def state_of_torch():
    """Return what a recorder may change of torch."""
    return (
        [dict(hooks) for name, hooks in vars(modules).items() if name.startswith("_global_") and hooks is not None],
        dict(optimizers._global_optimizer_pre_hooks), dict(optimizers._global_optimizer_post_hooks),
        _get_current_function_mode_stack(), _get_current_dispatch_mode_stack(),
        torch.autograd.backward, torch.compile, torch.amp.GradScaler.step, torch.amp.GradScaler.scale,
        torch.is_grad_enabled(), torch._C._is_torch_function_enabled(), torch.is_autocast_enabled("cpu"),
        sys.getrecursionlimit(),
    )  # fmt: skip


def readings(windows):
    return {(reading.step, reading.site, reading.signal) for window in windows for reading in window.readings}


def equal(one, other):
    return one[:2] == other[:2] and all(torch.equal(a, b) for a, b in zip(one[2], other[2], strict=True))


@pytest.fixture(scope="module")
def unwatched():
    watched()  # imports what is imported at the first use
    gc.collect()
    gc.freeze()  # as at the begin of each module: the recorder looks through all objects
    outcome = Training().run()
    assert [text for text, _, _ in outcome[1]] == ["forward", "backward", "closure"]
    return outcome


@pytest.fixture(scope="module")
def healthy(unwatched):
    """Calls of each function in a watched training without a fault, and its readings."""
    with counted({name: function for name, function in FUNCTIONS.items() if name not in DOORS}) as calls:
        assert equal(watched()[0], unwatched)
    # The counting stands on the stack, by which it is known that a model is being built.
    made, windows, _ = watched()
    assert equal(made, unwatched)
    assert not [site for window in windows for site in window.sites if site.coverage is Coverage.RECORDER_FAILED]
    return calls, readings(windows)


def variants(calls):
    """Return (function, mode) for all that was called, as often as the mode needs."""
    return [(name, mode) for name in sorted(calls) for mode in Fault.MODES if calls[name] >= 3 or mode != "third"]


def check(name, mode, unwatched, expected):
    """Return what is wrong with a training in which one function fails, None where nothing is."""
    before, fault = state_of_torch(), Fault(mode)
    made, windows, left = watched(fault=fault, function=FUNCTIONS[name])
    if not equal(made, unwatched):
        return "the training differs"
    if left != before and not (name in REMOVING and mode == "every"):
        return "something is left in torch"
    failed = any(site.coverage is Coverage.RECORDER_FAILED for window in windows for site in window.sites)
    if fault.calls and not failed and readings(windows) != expected:
        return "a failure that nothing says"
    return None


def faults(chosen, unwatched, healthy):
    wrong = {f"{name} ({mode})": check(name, mode, unwatched, healthy[1]) for name, mode in chosen}
    return {variant: what for variant, what in wrong.items() if what is not None}


def test_a_part_of_all_faults_harms_no_training(unwatched, healthy):
    chosen = [variant for variant in variants(healthy[0]) if zlib.crc32(repr(variant).encode()) % 96 == 0]
    assert len(chosen) > 12
    assert faults(chosen, unwatched, healthy) == {}


@pytest.mark.long
def test_no_fault_harms_a_training(unwatched, healthy):
    chosen = variants(healthy[0])
    random.Random(0).shuffle(chosen)  # what one leaves behind must not matter to the next
    assert faults(chosen, unwatched, healthy) == {}


def test_nearly_all_functions_of_the_recorder_are_called(healthy):
    own = {name for name, function in FUNCTIONS.items() if ".record." in function.__module__} - DOORS - OF_COMPILED_CODE
    own = {name for name in own if not name.startswith(OF_THE_WRITING_THREAD)}
    missing = sorted(own - healthy[0].keys())
    assert len(missing) < 0.1 * len(own), "\n".join(missing)
