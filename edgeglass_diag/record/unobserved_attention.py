"""Attentions that ran but whose logits nobody can see, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn
from torch.fx import GraphModule

FROZEN = "not observed: ran without gradients, where it is left to choose its own kernel"
COMPILED = "not observed: compiled, flex_attention keeps its logits inside"


def unseen_attention(
    modules: Iterable[tuple[str, nn.Module]], ran: set[str], seen: set[str]
) -> Iterator[tuple[str, str]]:
    """Sites of attentions that ran and were not seen, with the reason.

    They are known by what their modules are: nn.MultiheadAttention, nn.TransformerEncoderLayer (whose fast path
    calls no attention module at all), and modules whose ``forward`` names a fused attention function.

    Args:
        modules: paths and modules.
        ran: paths of modules that ran, occurrences as ``path#k``.
        seen: paths of modules of which an attention was seen.
    """
    calls = {path.partition("#")[0] for path in ran}
    observed = {path.partition("#")[0] for path in seen}
    for path, module in modules:
        if path not in calls or path in observed or isinstance(module, GraphModule):  # compiled code is nobody's module
            continue
        own, reason = path, _reason(module)
        if isinstance(module, nn.TransformerEncoderLayer):
            own = f"{path}.self_attn" if path else "self_attn"
            reason = None if own in calls else FROZEN
        if reason is not None:
            yield (f"{own}.attention" if own else "attention"), reason


def _reason(module: nn.Module) -> str | None:
    if isinstance(module, nn.MultiheadAttention):
        return FROZEN
    code = getattr(type(module).forward, "__code__", None)
    names = () if code is None else code.co_names + code.co_freevars
    if "flex_attention" in names:
        return COMPILED
    return FROZEN if "scaled_dot_product_attention" in names else None
