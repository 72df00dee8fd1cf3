"""Attentions that ran but whose logits cannot be seen, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn
from torch.fx import GraphModule
from torch.jit import ScriptModule

from edgeglass_diag import site_paths
from edgeglass_diag.record.module_tree import forward_of, is_compiled
from edgeglass_diag.sites import Coverage


def unobserved_attention(
    modules: Sequence[tuple[str, nn.Module]], ran: set[str], seen: set[str]
) -> Iterator[tuple[str, Coverage]]:
    """Yield the path of each module that attended without being seen, with the reason.

    They are known by what their modules are: nn.MultiheadAttention, nn.TransformerEncoderLayer (whose fast path
    calls no attention module at all), and modules whose ``forward`` names a fused attention function.

    Args:
        modules: paths and modules.
        ran: paths of calls of modules.
        seen: paths of calls of modules in which an attention was seen.
    """
    calls, observed = set(map(site_paths.first_call, ran)), set(map(site_paths.first_call, seen))
    for path, module in modules:
        if path not in calls or path in observed or isinstance(module, GraphModule):  # compiled code, no user's module
            continue
        own, reason = path, _reason(module)
        if isinstance(module, nn.TransformerEncoderLayer):
            own = site_paths.child(path, "self_attn")
            reason = None if own in calls else Coverage.KERNEL_WITHOUT_GRADIENTS
        if reason is not None:
            # By the path, which what was compiled shares with its wrapper.
            is_in_compiled = any(other == path and is_compiled(one) for other, one in modules)
            yield own, Coverage.COMPILED_ATTENTION if is_in_compiled else reason


def attends(module: nn.Module) -> bool:
    """Return whether a module attends by itself, as far as its class tells."""
    return _reason(module) is not None


def _reason(module: nn.Module) -> Coverage | None:
    if isinstance(module, nn.MultiheadAttention) or _is_scripted_attention(module):
        return Coverage.KERNEL_WITHOUT_GRADIENTS
    forward = forward_of(module)
    code = getattr(getattr(forward, "_torchdynamo_orig_callable", forward), "__code__", None)
    names = () if code is None else code.co_names + code.co_freevars
    if "flex_attention" in names:
        return Coverage.KERNEL_COMPILED
    return Coverage.KERNEL_WITHOUT_GRADIENTS if "scaled_dot_product_attention" in names else None


def _is_scripted_attention(module: nn.Module) -> bool:
    return isinstance(module, ScriptModule) and module.original_name == nn.MultiheadAttention.__name__
