"""The modules that are running, and the paths of their calls."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from edgeglass_diag import site_paths
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_tree import parameters
from edgeglass_diag.record.shards import is_foreign
from edgeglass_diag.sites import LossFunction


@dataclass(slots=True, eq=False, weakref_slot=True)
class Frame:
    """A module that is running.

    Attributes:
        module: the module.
        path: of this call; empty where it is not recorded.
        is_training: whether its outermost call has gradients: others are not recorded.
        is_model: whether it has parameters, asked of outermost calls only.
        hides_functions: whether the function mode was taken off for it.
        trace_range: the range of an outermost call in a profiler's trace.
        is_evaluation: whether its outermost call is one of a trained model without gradients that is looked at.
    """

    module: nn.Module
    path: str
    is_training: bool
    is_model: bool = True
    hides_functions: bool = False
    trace_range: ExitStack | None = None
    is_evaluation: bool = False


class ModuleStack:
    """The running modules, outermost first, and how often each path was called in one forward pass.

    Attributes:
        frames: the running modules.
        is_after_graph: whether the model that ran last was called by an evaluation although gradients are on.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._calls: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()
        self._passed: Facts[nn.Module, bool] = Facts()
        self._after_evaluation = self.is_after_graph = False

    @property
    def is_training(self) -> bool:
        """Whether what happens now belongs to training: evaluation passes are not recorded."""
        return self.frames[-1].is_training if self.frames else self.has_gradients

    @property
    def has_gradients(self) -> bool:
        """Whether gradients are on, and not by oversight: not so after an evaluation pass that had them."""
        return torch.is_grad_enabled() and not self.is_after_graph

    @property
    def is_evaluation(self) -> bool:
        """Whether what happens now belongs to an evaluation pass, or follows on one with no other in between."""
        return self.frames[0].is_evaluation if self.frames else self._after_evaluation

    @property
    def path(self) -> str:
        """Path of the innermost running call, empty outside of modules."""
        return self.frames[-1].path if self.frames else ""

    @property
    def module(self) -> nn.Module | None:
        """The innermost running module."""
        return self.frames[-1].module if self.frames else None

    def call_path(self, path: str) -> str:
        """Return the path of one more call within this forward pass."""
        return _numbered(path, self._calls)

    def loss_path(self, function: LossFunction) -> str:
        """Return the path of a loss, at the module that computes it if there is one.

        A criterion is called once for each of its losses, so that these are counted as those outside of modules are;
        a model that computes its own loss begins anew with each pass.
        """
        path = site_paths.child(self.path, function)
        within = bool(self.frames) and self.frames[0].is_model and not _is_criterion(self.frames[0].module)
        return self.call_path(path) if within else _numbered(path, self._losses)

    def begin_pass(
        self, module: nn.Module, *, is_model: bool, is_evaluation: bool = False, has_graph: bool = False
    ) -> None:
        """Count calls anew as an outermost forward pass begins, and losses where this very model ran already.

        Losses are counted anew as well where an evaluation begins or ends.

        Args:
            module: begins to run.
            is_model: whether it has parameters.
            is_evaluation: whether the pass is one of an evaluation that is looked at.
            has_graph: whether it is one of an evaluation although gradients are on.
        """
        self._calls.clear()
        self.is_after_graph = has_graph if is_model else self.is_after_graph
        changes = is_model and is_evaluation != self._after_evaluation
        self._after_evaluation = is_evaluation if is_model else self._after_evaluation
        if module in self._passed or changes:
            self._losses.clear()
            self._passed.clear()
        if is_model and not _is_criterion(module):
            self._passed.set(module, True)

    def end_passes(self) -> None:
        """Count calls and losses anew: a backward pass begins, or the window is over."""
        self._calls.clear()
        self._losses.clear()
        self._passed.clear()
        self._after_evaluation = self.is_after_graph = False


def _numbered(path: str, counts: Counter[str]) -> str:
    counts[path] += 1
    return site_paths.call(path, counts[path] - 1)


def _is_criterion(module: nn.Module) -> bool:
    """Return whether a module can but compute a loss: all that it learns are single numbers, as a scale and a bias."""
    return all(not is_lazy(p) and not is_foreign(p) and p.numel() == 1 for p in parameters(module))
