"""Changes of modules: norms put around them, BatchNorm in evaluation mode, outputs scaled, gradients let through."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edgeglass_diag.replaying.interventions.functions import Call, change_calls
from edgeglass_diag.replaying.interventions.means import Means, register
from edgeglass_diag.site_paths import is_within


@dataclass
class ModuleChange(Means):
    """A change of a module at a path, made to its ``forward`` before the first pass of its model.

    Hooks on the module, those of the recorder among them, see the changed output.
    """

    _changed: set[int] = field(default_factory=set)

    def attach(self) -> None:
        """Change the module as soon as its model runs."""
        self.training.before_first_pass(lambda _: self._look())

    def _look(self) -> None:
        module = self.training.module(self.wanted.site)
        if module is not None and id(module) not in self._changed:
            self._changed.add(id(module))
            forward = module.forward
            module.forward = self._around(forward)

    def _around(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return self.called(forward, args, kwargs)
            self.applied += 1
            return self.called(forward, args, kwargs)

        return changed

    @abstractmethod
    def called(self, forward: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what the changed module returns."""


@register
@dataclass
class NormBefore(ModuleChange):
    """Floating inputs of at least two dimensions are normed over the last one."""

    name = "module.norm_before"

    def called(self, forward: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call with normed inputs."""
        return forward(*map(_normed, args), **{name: _normed(each) for name, each in kwargs.items()})


@register
@dataclass
class NormBehind(ModuleChange):
    """The output, or the first of several, is normed over the last dimension."""

    name = "module.norm_behind"

    def called(self, forward: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Norm what is returned."""
        return _on_first(_normed, forward(*args, **kwargs))


@register
@dataclass
class Scaled(ModuleChange):
    """The output, or the first of several, times the factor."""

    name = "module.scaled"

    def called(self, forward: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Scale what is returned."""
        return _on_first(lambda each: each * self.number, forward(*args, **kwargs))


def _normed(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1:
        return functional.layer_norm(value, value.shape[-1:])
    return value


def _on_first(change: Callable[[Any], Any], output: Any) -> Any:
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
        return (change(output[0]), *output[1:])
    return change(output) if isinstance(output, Tensor) else output


@register
@dataclass
class BatchNormInEvaluation(Means):
    """BatchNorm uses its running statistics and leaves them as they are, in the whole model or within a module."""

    name = "module.batch_norm_eval"

    def attach(self) -> None:
        """Stand around the forward of BatchNorm."""
        for kind in (_BatchNorm, nn.SyncBatchNorm):
            change_calls(kind, "forward", self._called)

    def _called(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = args[0]
        if not module.training or module.running_mean is None or not self._is_meant(module):
            return call(*args, **kwargs)
        self.applied += 1
        module.training = False
        try:
            return call(*args, **kwargs)
        finally:
            module.training = True

    def _is_meant(self, module: nn.Module) -> bool:
        outer = self.training.module(self.wanted.site) if self.wanted.site else None
        return not self.wanted.site or (outer is not None and any(each is module for each in outer.modules()))


@register
@dataclass
class GradientKept(Means):
    """``detach`` and ``no_grad`` are lifted: for the forward of the module and what it returns, or everywhere.

    Without a site ``no_grad`` is lifted around modules in training mode, and ``detach`` of everything but a number,
    which is detached to be logged. What is taken by ``.data`` stays cut off.
    """

    name = "gradient.kept"
    _depth: int = 0

    def attach(self) -> None:
        """Stand around the calls of modules, and before ``detach``."""
        change_calls(nn.Module, "_call_impl", self._module_called, nested=True)
        change_calls(Tensor, "detach", self._detached)

    def _module_called(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._is_meant(args[0]):
            return call(*args, **kwargs)
        is_lifted = not torch.is_grad_enabled() and args[0].training
        self.applied += is_lifted
        self._depth += 1
        try:
            with torch.set_grad_enabled(is_lifted or torch.is_grad_enabled()):
                return call(*args, **kwargs)
        finally:
            self._depth -= 1

    def _is_meant(self, module: nn.Module) -> bool:
        site = self.wanted.site
        return not site or module is self.training.module(site)

    def _detached(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = args[0]
        is_logged = given.dim() == 0 and not self._depth
        if is_logged or not torch.is_grad_enabled() or given.grad_fn is None or not self._comes_from_it(given):
            return call(*args, **kwargs)
        self.applied += 1
        return given.view_as(given)

    def _comes_from_it(self, given: Tensor) -> bool:
        """Return whether a tensor is made within the module, or of what has a parameter of it behind it."""
        if not self.wanted.site or self._depth:
            return True
        wanted = {id(p) for name, p in self.training.parameters(self.wanted.site) if is_within(name, self.wanted.site)}
        seen: set[Any] = {given.grad_fn}
        waiting: list[Any] = [given.grad_fn]
        for node in waiting:
            if id(getattr(node, "variable", None)) in wanted:
                return True
            new = [each for each, _ in node.next_functions if each is not None and each not in seen]
            seen.update(new)
            waiting += new
        return False
