"""The modules and parameters below a module, as torch walks them, without a call of the modules' own methods.

``named_modules`` and ``parameters`` of torch put modules into a set, which those without a hash do not allow, and a
class may define them otherwise.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.jit import ScriptModule

from edgeglass_diag import site_paths


def own_content(module: nn.Module, name: str) -> Mapping[str, Any]:
    """Return a module's own ``_modules`` or ``_parameters``; empty where its constructor has not made them.

    What ``torch.jit.trace`` makes of a module is a wrapper of the one that has them.
    """
    own = object.__getattribute__(module, "__dict__")
    traced = own.get("_actual_script_module")
    if traced is not None:
        own = object.__getattribute__(traced, "__dict__")
    content: Mapping[str, Any] = own.get(name) or {}
    return content


def named_modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a module and all below it with their names, each once, outer ones first."""
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield name, module
        children = [(site_paths.child(name, key), child) for key, child in own_content(module, "_modules").items()]
        waiting.extend((path, child) for path, child in reversed(children) if child is not None)


def named_parameters(root: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of a module and of all below it with their names, each once."""
    seen: set[int] = set()
    for name, module in named_modules(root):
        for key, parameter in own_content(module, "_parameters").items():
            if parameter is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                yield site_paths.child(name, key), parameter


def modules(root: nn.Module) -> Iterator[nn.Module]:
    """Yield a module and all below it, each once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if id(module) not in seen:
            seen.add(id(module))
            yield module
            children = list(own_content(module, "_modules").values())
            waiting.extend(child for child in reversed(children) if child is not None)


def parameters(root: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters of a module and of all below it, each once."""
    seen: set[int] = set()
    for module in modules(root):
        for parameter in own_content(module, "_parameters").values():
            if parameter is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter


def own_modules(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that a module itself holds."""
    return (child for child in own_content(module, "_modules").values() if child is not None)


def own_parameters(module: nn.Module) -> Mapping[str, nn.Parameter]:
    """Return the parameters of a module that belong to none below it, by name."""
    return {key: parameter for key, parameter in own_content(module, "_parameters").items() if parameter is not None}


def has_parameters(module: nn.Module) -> bool:
    """Return whether a module, or one below it, has a parameter."""
    return next(parameters(module), None) is not None


def forward_of(module: nn.Module) -> Any:
    """Return the ``forward`` that a module's class has; that of a scripted one cannot be asked for by its name."""
    return inspect.getattr_static(type(module), "forward")


def is_compiled(module: nn.Module) -> bool:
    """Return whether calls of this module run compiled or scripted code, which calls no module below it."""
    if isinstance(module, ScriptModule):
        return True
    own = object.__getattribute__(module, "__dict__")
    if "_orig_mod" in own_content(module, "_modules") or own.get("_compiled_call_impl") is not None:
        return True
    forward = own.get("forward") or forward_of(module)
    return hasattr(forward, "_torchdynamo_orig_callable") and not getattr(forward, "_torchdynamo_disable", False)
