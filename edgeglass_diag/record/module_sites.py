"""Observes modules: their sites, and where what they are given comes from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from edgeglass_diag import site_paths
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_stack import Frame
from edgeglass_diag.record.observer import ModuleCall, Observer
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.sites import ModuleSite


class ModuleSiteObserver(Observer):
    """Registers module sites with their parents.

    Args:
        recording: state of the watch.

    Attributes:
        parents: of each call of a module in this window.
        lookups: shape of what each table of embeddings gave out in this window.
        without_gradients: modules that were called outermost without gradients, as in evaluation: not recorded.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.parents: dict[str, tuple[str, ...]] = {}
        self.lookups: dict[str, tuple[int, ...]] = {}
        self.without_gradients: Facts[nn.Module, bool] = Facts()

    def module_begins(self, outermost: Frame, arguments: tuple[Any, ...]) -> None:
        """Note evaluations."""
        if len(self._recording.stack.frames) == 1 and not self._recording.boundary.gradients:
            self.without_gradients.set(outermost.module, True)

    def module_ends(self, call: ModuleCall) -> None:
        """Register the call, and its outputs as what later modules are given."""
        recording, module = self._recording, call.frame.module
        path, sources = call.frame.path, recording.sources
        inner, parents = sources.sources(call.made), sources.sources(call.given)
        parents = tuple(dict.fromkeys((*parents, *inner))) if inner else parents
        self.parents[path] = parents
        if isinstance(module, nn.Embedding) and call.made:
            self.lookups[path] = tuple(call.made[0].shape)
        recording.sites.register_site(_site(path, parents, type(module).__name__))
        is_whole = call.is_outermost or not site_paths.first_call(path)  # what DDP wraps is the whole model, too
        for tensor in call.fresh:
            if not is_whole or not self._keeps_sources(call, tensor):
                sources.set_output(tensor, path, call.given)

    def name_evaluated(self) -> None:
        """Name the models that were called without gradients alone."""
        for module, _ in self.without_gradients.items():
            self._recording.naming.path(module)
        self.without_gradients.clear()

    def _keeps_sources(self, call: ModuleCall, tensor: Tensor) -> bool:
        """Return whether an output of a whole model has the sources that it has inside.

        Those of a whole model have them, one side apart from the other. A part that is called from outside, as
        `model.visual(images)`, is what its output comes from.
        """
        sources = self._recording.sources
        alone = len(call.made) == 1 and sources.product(tensor) is None
        is_part = alone and not self._recording.naming.is_model(call.frame.module)
        return not is_part and bool(sources.sources([tensor]))

    def forget(self) -> None:
        """Release the parents."""
        self.parents.clear()
        self.lookups.clear()


@lru_cache(maxsize=4096)
def _site(path: str, parents: tuple[str, ...], class_name: str) -> ModuleSite:
    """Return a site, the same as in the window before where a module has the same parents."""
    return ModuleSite(path=path, parents=parents, class_name=class_name)
