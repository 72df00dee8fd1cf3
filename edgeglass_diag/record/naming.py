"""Names modules and parameters by their path, and finds the models that they belong to."""

from __future__ import annotations

import functools
import gc
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from torch import Tensor, nn

from edgeglass_diag import site_paths
from edgeglass_diag.record.facts import Facts
from edgeglass_diag.record.module_tree import (
    has_parameters,
    modules,
    named_modules,
    named_parameters,
    own_content,
    own_parameters,
    parameters,
)
from edgeglass_diag.record.tree_snapshot import TreeSnapshot

_WRAPPERS = {"_forward_module", "_original_module", "_orig_mod", "module"}
_MAX_SCANS = 20


class Naming:
    """Paths below the models that are alive; ``UNNAMED`` stands for a parameter that none of them has.

    A model is a module that no other module holds. Modules of the first model with parameters are named by
    their path alone, those of others behind the class name of their model. Wrappers such as DDP's ``module.``
    leave no trace in the names.

    Attributes:
        changes: how often ``current`` found other modules, parameters or places than before.
    """

    UNNAMED: Final = "unnamed"

    def __init__(self) -> None:
        self._paths: Facts[nn.Module, str] = Facts()
        self._parameters: Facts[Tensor, str] = Facts()
        self._known_roots: list[weakref.ref[nn.Module]] = []
        self._left: Facts[nn.Module, weakref.ref[nn.Module]] = Facts()  # modules of models that were left, and those
        self._classes: Counter[str] = Counter()
        self._scans = 0
        self._tree: TreeSnapshot | None = None
        self.changes = 0

    def path(self, module: nn.Module) -> str:
        """Return the path of a module; empty for the first model itself."""
        if self._left and (model := self._left.get(module)) is not None:
            self._left.remove(lambda left: left is model)
            self._known_roots.append(model)
        known = self._paths.get(module)
        if known is None and not has_parameters(module):
            # Made on the way (`nn.GELU()(x)`) or a transform: not worth a search for its model.
            self._paths.set(module, known := type(module).__name__)
        if known is None:
            self.adopt(self._root_of(module))
            known = self._paths.get(module)
        assert known is not None
        return known

    def leave(self) -> None:
        """Forget which models there are, until they run again: another thread trains them, and nothing reads there.

        torch reads and writes a ``.grad`` without a lock: a process in which two threads do ends by a signal.
        """
        for root in self._roots:
            model = weakref.ref(root)
            for module in modules(root):
                self._left.set(module, model)
        self._known_roots.clear()

    def is_model(self, module: nn.Module) -> bool:
        """Return whether a module is a model of its own and no part of another."""
        return any(module is root for root in self._roots)

    def parameter(self, parameter: Tensor) -> str:
        """Return the path of a parameter; ``unnamed`` where no living model holds it."""
        known = self._parameters.get(parameter)
        if known is None and self._scans < _MAX_SCANS:
            for root in self._living_roots():
                if any(parameter is p for p in parameters(root)):
                    self.adopt(root)
            known = self._parameters.get(parameter)
        return self.UNNAMED if known is None else known

    def paths_of(self, parameters: Iterable[Tensor]) -> list[str]:
        """Return the path of each parameter, as ``parameter`` does."""
        known = self._parameters.get
        return [self.parameter(p) if (path := known(p)) is None else path for p in parameters]

    def drop(self, parameter: Tensor) -> None:
        """Take the name from a parameter that its model has no more."""
        self._parameters.set(parameter, self.UNNAMED)

    def current(self) -> list[tuple[str, nn.Parameter]]:
        """Return the parameters that lie in the models now, with the path of each place; a shared one several times.

        A parameter is named by the first of its places.
        """
        roots = self._roots
        known = None if self._tree is None else self._tree.current(roots)
        if known is None:
            known = list(self._named_anew(roots))
            self._tree = TreeSnapshot(self._roots, known)
            self.changes += 1
        return known

    def _named_anew(self, roots: Iterable[nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
        seen: set[int] = set()
        for root in roots:
            for module in modules(root):
                if module not in self._paths:
                    self.adopt(root)
                for key, parameter in own_parameters(module).items():
                    path = site_paths.child(self._paths.get(module) or "", key)
                    if id(parameter) not in seen and self._parameters.get(parameter) != path:
                        self._parameters.set(parameter, path)
                    seen.add(id(parameter))
                    yield path, parameter

    @property
    def modules(self) -> list[tuple[str, nn.Module]]:
        """All modules named so far that are alive, with their paths; a shared module once."""
        return [(path, module) for module, path in self._paths.items()]

    @property
    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """All parameters of the models known, with their paths."""
        for root in self._roots:
            self.adopt(root)
        return [(self.parameter(p), p) for root in self._roots for p in parameters(root)]

    def gradients(self) -> dict[int, Tensor]:
        """Return the gradients that the parameters of the models hold now, by identity."""
        return {id(p.grad): p.grad for root in self._roots for p in parameters(root) if p.grad is not None}

    @property
    def _roots(self) -> list[nn.Module]:
        self._known_roots = [known for known in self._known_roots if known() is not None]
        return [root for known in self._known_roots if (root := known()) is not None]

    def adopt(self, root: nn.Module) -> None:
        """Name all modules and parameters below a model."""
        named = list(named_modules(root))
        prefix = self._paths.get(root) if any(root is known for known in self._roots) else None
        if prefix is None:
            prefix = self._prefix(root)
            self._known_roots.append(weakref.ref(root))
        for name, module in named:
            if module not in self._paths:
                self._paths.set(module, _join(prefix, name))
        for name, parameter in named_parameters(root):
            if parameter not in self._parameters:
                self._parameters.set(parameter, _join(prefix, name))

    def _prefix(self, root: nn.Module) -> str:
        learns = has_parameters(root)
        if learns and "" not in (self._paths.get(known) for known in self._roots):
            return ""
        kind = type(root).__name__
        if not learns:
            return kind
        self._classes[kind] += 1
        return kind if self._classes[kind] == 1 else f"{kind}_{self._classes[kind]}"

    def _root_of(self, module: nn.Module) -> nn.Module:
        if self._scans >= _MAX_SCANS:
            return module
        holders = [root for root in self._living_roots() if any(module is m for m in modules(root))]
        return max(holders, key=lambda root: sum(1 for _ in modules(root)), default=module)

    def _living_roots(self) -> list[nn.Module]:
        self._scans += 1
        alive = [o for o in gc.get_objects() if issubclass(type(o), nn.Module)]
        held = {id(child) for module in alive for child in own_content(module, "_modules").values()}
        return [module for module in alive if id(module) not in held]


def _join(prefix: str, name: str) -> str:
    parts = site_paths.parts(name)
    while parts and parts[0] in _WRAPPERS:
        parts.pop(0)
    return functools.reduce(site_paths.child, parts, prefix)
