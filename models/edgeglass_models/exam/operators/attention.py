"""Mistakes in attention, wherever torch's own is called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from edgeglass_models.exam.operators.operator import Family

attention = Family("attention")

Inputs = dict[str, Any]
_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")


def _attends(tree: ast.Module) -> bool:
    text = ast.unparse(tree)
    words = (
        "transformers",
        "open_clip",
        "TransformerEncoder",
        "Multihead",
        "scaled_dot_product",
        "perceiver",
        "coca_pytorch",
    )
    return any(word in text for word in words)


@contextmanager
def _changed(change: Callable[[Inputs], None]) -> Iterator[None]:
    """Change what scaled_dot_product_attention is given, by name."""
    import torch.nn.functional as F

    plain = F.scaled_dot_product_attention

    def wrong(*inputs: Any, **options: Any) -> Any:
        given = {**dict(zip(_NAMES, inputs, strict=False)), **options}
        change(given)
        return plain(**given)

    with patch.object(F, "scaled_dot_product_attention", wrong):
        yield


@attention.around(source="DEForm missing_scaling", where=("model",), fits=_attends)
@contextmanager
def attention_not_scaled() -> Iterator[None]:
    """The attention logits are not divided by the root of the width."""
    with _changed(lambda given: given.update(scale=1.0)):
        yield


@attention.around(source="DEForm wrong_scaling", where=("model",), fits=_attends)
@contextmanager
def attention_scale_far_too_large() -> Iterator[None]:
    """The attention logits are fifty times too large."""
    with _changed(lambda given: given.update(query=given["query"] * 50)):
        yield


@attention.around(source="DEForm zero_query", where=("model",), fits=_attends)
@contextmanager
def attention_uniform() -> Iterator[None]:
    """The queries of attention are zero: each position looks at all others alike."""
    with _changed(lambda given: given.update(query=given["query"] * 0)):
        yield


@attention.around(source="DEForm zero_value", where=("model",), fits=_attends)
@contextmanager
def attention_without_values() -> Iterator[None]:
    """The values of attention are zero."""
    with _changed(lambda given: given.update(value=given["value"] * 0)):
        yield


@attention.around(source="DEForm swap_qk", where=("model",), fits=_attends)
@contextmanager
def attention_queries_and_keys_swapped() -> Iterator[None]:
    """Queries and keys are swapped."""

    def swap(given: Inputs) -> None:
        if given["query"].shape == given["key"].shape:
            given.update(query=given["key"], key=given["query"])

    with _changed(swap):
        yield


@attention.around(source="DEForm tie_heads", where=("model",), fits=_attends)
@contextmanager
def attention_heads_tied() -> Iterator[None]:
    """All heads are the first one."""

    def tie(given: Inputs) -> None:
        for name in ("query", "key", "value"):
            given[name] = given[name][:, :1].expand_as(given[name])

    with _changed(tie):
        yield


@attention.around(source="DEForm causal_in_bidirectional", where=("model",), fits=_attends)
@contextmanager
def attention_causal_in_an_encoder() -> Iterator[None]:
    """Encoders attend to earlier positions alone."""

    def causal(given: Inputs) -> None:
        if given.get("attn_mask") is None:
            given.update(is_causal=True)

    with _changed(causal):
        yield


@attention.around(source="DEForm zero_mask", where=("text side", "model"), fits=_attends)
@contextmanager
def attention_mask_ignored() -> Iterator[None]:
    """The masks of attention are ignored."""
    with _changed(lambda given: given.update(attn_mask=None, is_causal=False)):
        yield


@attention.around(source="DEForm inverted_mask", where=("text side", "model"), fits=_attends)
@contextmanager
def attention_mask_inverted() -> Iterator[None]:
    """The masks of attention are inverted where that leaves each query a key."""
    import torch

    def invert(given: Inputs) -> None:
        mask = given.get("attn_mask")
        if mask is None:
            return
        allowed = mask if mask.dtype == torch.bool else mask > -1
        inverted = ~allowed | allowed.all(-1, keepdim=True)
        given.update(attn_mask=inverted)

    with _changed(invert):
        yield


@attention.around(source="DEForm wrong_dropout", where=("model",), fits=_attends)
@contextmanager
def attention_dropped_out() -> Iterator[None]:
    """Attention has a dropout of 0.8, in evaluation too."""
    with _changed(lambda given: given.update(dropout_p=0.8)):
        yield
