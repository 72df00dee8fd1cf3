"""Observes which weights are those of linear maps, and which map takes the output of another with nothing between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.nested import arguments_in, tensors_in
from edgeglass_diag.record.observer import EVERY_FUNCTION, Function, FunctionHandler, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.torch_functions import CARRYING, CONVOLUTIONS, SCALING, bind
from edgeglass_diag.sites import Coverage, ParameterSite

_MAPS = frozenset({functional.linear, *CONVOLUTIONS})
_LINEAR = frozenset({*CARRYING, *SCALING})
"""Functions that are linear in their first argument where all others are numbers."""

_WINDOWS = 2
"""Recorded windows in which a model is looked at: how its layers follow one another does not change as a rule."""


@dataclass(slots=True, eq=False)
class _Output:
    """What one call of a linear map gave.

    Attributes:
        weight: path of the map's matrix.
        takers: matrices of the maps that it was given to.
        is_shared: whether something that is no linear map has taken it too.
    """

    weight: str
    takers: set[str]
    is_shared: bool = False


class _Held(NamedTuple):
    """An output as a tensor holds it, and the tensor's version then: what is written into it since is unknown."""

    output: _Output
    version: int


class LinearMapObserver(Observer):
    """Notes ``is_linear`` and ``behind`` of parameters: a dropout, a reshape, BatchNorm or a factor is nothing between.

    Convolutions in groups, and those whose windows do not overlap, are a choice of structure: nothing is behind them.

    Args:
        recording: state of the watch.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._held: Facts[Tensor, _Held] = Facts()
        self._given: dict[str, list[_Output | None]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._windows: Facts[nn.Module, int] = Facts()
        self._running: Facts[nn.Module, bool] = Facts()

    @property
    def functions(self) -> Mapping[Function, FunctionHandler]:
        """All functions: whatever takes an output matters."""
        return {EVERY_FUNCTION: self._follow}

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Look at models that are new."""
        new = len(self._recording.stack.frames) == 1 and outermost.is_training and outermost.is_model
        if new and (self._windows.get(outermost.module) or 0) < _WINDOWS:
            self._running.set(outermost.module, True)

    def window_ends(self) -> None:
        """Note what was seen; nothing of a window that was cut short, in which something else may have taken it."""
        if not self._recording.clock.is_whole:
            return
        for module, _ in self._running.items():
            self._windows.set(module, (self._windows.get(module) or 0) + 1)
        for name, given in self._given.items():
            site = ParameterSite(path=name, coverage=Coverage.NOT_HELD)
            facts = {"shape": self._shapes[name], "is_linear": True, "behind": _behind(given)}
            self._recording.sites.set_facts(site, **facts)

    def forget(self) -> None:
        """Forget the outputs of the window."""
        self._held.clear()
        self._given.clear()
        self._shapes.clear()
        self._running.clear()

    def _follow(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not self._running:
            return
        tensors = arguments_in(args, kwargs)
        if func in _MAPS and isinstance(result, Tensor):
            self._map(func, args, kwargs, result, tensors)
        elif not self._held or not (taken := self._outputs(tensors)):
            return
        elif isinstance(result, Tensor) and _stays_linear(func, tensors):
            self._hold(result, taken[0])
        elif func is Tensor.__setitem__ or tensors_in(result):
            _share(taken)

    def _map(
        self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor, tensors: Iterable[Tensor]
    ) -> None:
        call = bind(func, args, kwargs)
        weight, naming = call["weight"], self._recording.naming
        taken = self._outputs(tensors)
        name = naming.parameter(weight) if isinstance(weight, nn.Parameter) else naming.UNNAMED
        if name == naming.UNNAMED or call.get("groups", 1) != 1:
            _share(taken)
            return
        self._shapes[name] = tuple(weight.shape)
        source = taken[0] if taken else None
        self._given.setdefault(name, []).append(source)
        if source is not None:
            source.takers.add(name)
        if not _is_patches(weight, call.get("stride", 1)):
            self._hold(result, _Output(name, set()))

    def _hold(self, tensor: Tensor, output: _Output) -> None:
        if not tensor.is_inference():  # which have no version
            self._held.set(tensor, _Held(output, tensor._version))

    def _outputs(self, tensors: Iterable[Tensor]) -> list[_Output]:
        """Return the outputs that these tensors are, of those that nothing was written into."""
        held = [(tensor, known) for tensor in tensors if (known := self._held.get(tensor)) is not None]
        return [known.output for tensor, known in held if known.version == tensor._version]


def _share(outputs: Iterable[_Output]) -> None:
    for output in outputs:
        output.is_shared = True


def _stays_linear(func: Function, tensors: list[Tensor]) -> bool:
    return func is functional.batch_norm or (func in _LINEAR and all(other.numel() <= 1 for other in tensors[1:]))


def _is_patches(weight: Tensor, stride: Any) -> bool:
    """Return whether a convolution cuts its input into patches, each of which it sees once."""
    kernel = tuple(weight.shape[2:])
    steps = tuple(stride) if isinstance(stride, (tuple, list)) else (stride,) * len(kernel)
    return len(kernel) > 0 and max(kernel) > 1 and all(s >= k for s, k in zip(steps, kernel, strict=False))


def _behind(given: list[_Output | None]) -> str:
    """Return the one map that every call took the output of, empty where there is none or others took it too."""
    sources = {"" if one is None or one.is_shared or len(one.takers) > 1 else one.weight for one in given}
    return sources.pop() if len(sources) == 1 else ""
