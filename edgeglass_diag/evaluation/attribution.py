"""Attribution of a pair's similarity by captum: integrated gradients and ablation, for any two encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeglass_diag.extras import extra

Encode = Callable[..., Tensor]
"""(B, ...) and further tensors of B rows each -> embeddings (B, D)."""


def cosine_similarity(image: Tensor, text: Tensor) -> Tensor:
    """Return the cosine of each pair of rows, (B, D) and (B, D) -> (B,) in [-1, 1]; 0 where a row is zero."""
    return functional.cosine_similarity(image, text, dim=-1)


@dataclass(frozen=True)
class Attribution:
    """The contribution of each unit (patch, token, latent, word) of N inputs to the similarity of its pair.

    Attributes:
        similarity: (N,), of each pair.
        reference: (N,), with the input replaced by the baseline.
        integrated_gradients: (N, U); each row sums to similarity - reference up to ``error``.
        ablation: (N, U), the drop of the similarity when that unit alone is replaced by the baseline.
        error: (N,), |sum of integrated gradients - (similarity - reference)|, the error of the numerical integral.
    """

    similarity: Tensor
    reference: Tensor
    integrated_gradients: Tensor
    ablation: Tensor
    error: Tensor


def attribute(  # noqa: PLR0913  encoder, inputs and the other side; the rest has defaults
    encode: Encode,
    inputs: Tensor,
    other: Tensor,
    *,
    baseline: Tensor | None = None,
    units: Tensor | None = None,
    extra: tuple[Tensor, ...] = (),
    compare: Callable[[Tensor, Tensor], Tensor] = cosine_similarity,
    steps: int = 64,
    rows: int = 64,
) -> Attribution:
    """Return the attribution of the similarity of ``encode(inputs, *extra)`` and ``other`` to units of the inputs.

    Integrated gradients: ``(x - x0) . integral over a in [0, 1] of d similarity / d x at x0 + a (x - x0)``, by
    Gauss-Legendre quadrature. Both are computed by captum.

    Source: Axiomatic Attribution for Deep Networks, https://arxiv.org/abs/1703.01365; Captum,
    https://arxiv.org/abs/2009.07896.

    Args:
        encode: differentiable; each row of the embeddings depends on its own row of the inputs alone.
        inputs: (N, ...) floats: pixels, tokens, latents, word embeddings.
        other: (N, D) embeddings of the other side.
        baseline: (N, ...) or (1, ...), the reference input; None for the mean of the inputs.
        units: unit of each entry, integers from 0 of a shape that broadcasts to that of inputs; None for one unit per
            index of the second axis.
        extra: further arguments of encode, (N, ...) each, to which nothing is attributed.
        compare: (B, D) and (B, D) -> similarity (B,), the cosine by default.
        steps: points of the numerical integral; ``error`` shows whether they suffice.
        rows: batch size of encode.

    Raises:
        ValueError: if inputs are not floats of shape (N, U, ...), or baseline, units or other do not match them.
    """
    integrated_gradients, feature_ablation = _methods()
    base = _baseline(inputs, baseline)
    mask = _units(inputs, units)
    if other.dim() != 2 or len(other) != len(inputs):
        raise ValueError(f"other: expected (N, D) with N = {len(inputs)}, got {tuple(other.shape)}")

    def score(rows_in: Tensor, pair: Tensor, *further: Tensor) -> Tensor:
        return compare(encode(rows_in, *further), pair)

    given = (other, *extra)
    gradients = integrated_gradients(score).attribute(
        inputs, base, additional_forward_args=given, n_steps=steps, internal_batch_size=max(rows, len(inputs))
    )
    count = int(mask.max()) + 1
    integrated = torch.zeros(len(inputs), count, dtype=inputs.dtype, device=inputs.device)
    integrated.scatter_add_(1, mask.flatten(1), gradients.detach().to(inputs.dtype).flatten(1))
    with torch.no_grad():
        similarity, reference = score(inputs, *given), score(base, *given)
        drops = [
            feature_ablation(score).attribute(
                inputs[i : i + 1],
                base[i : i + 1],
                additional_forward_args=tuple(part[i : i + 1] for part in given),
                feature_mask=mask[i : i + 1],
                perturbations_per_eval=rows,
            )
            for i in range(len(inputs))
        ]
    ablation = torch.stack([_per_unit(drop[0], mask[i], count) for i, drop in enumerate(drops)])
    error = (integrated.sum(1) - (similarity - reference)).abs()
    return Attribution(similarity, reference, integrated, ablation, error)


def _methods() -> tuple[Any, Any]:
    with extra("evaluate", "attribution"):
        from captum.attr import FeatureAblation, IntegratedGradients
    return IntegratedGradients, FeatureAblation


def _baseline(inputs: Tensor, baseline: Tensor | None) -> Tensor:
    if inputs.dim() < 2 or not inputs.is_floating_point() or inputs.numel() == 0:
        got = f"{str(inputs.dtype).removeprefix('torch.')} of shape {tuple(inputs.shape)}"
        raise ValueError(f"inputs: expected floats of shape (N, U, ...), got {got}")
    base = inputs.mean(0, keepdim=True) if baseline is None else baseline
    if base.shape[1:] != inputs.shape[1:] or len(base) not in (1, len(inputs)):
        raise ValueError(f"baseline: expected the shape {tuple(inputs.shape)} or one row, got {tuple(base.shape)}")
    return base.to(inputs).expand_as(inputs).contiguous()


def _units(inputs: Tensor, units: Tensor | None) -> Tensor:
    if units is None:
        units = torch.arange(inputs.shape[1]).reshape(1, -1, *[1] * (inputs.dim() - 2))
    if units.is_floating_point() or int(units.min()) < 0:
        raise ValueError("units: expected integers from 0")
    try:
        return units.to(inputs.device).expand(inputs.shape).contiguous()
    except RuntimeError:
        shapes = f"{tuple(units.shape)} for inputs of shape {tuple(inputs.shape)}"
        raise ValueError(f"units: expected a shape that broadcasts to that of the inputs, got {shapes}") from None


def _per_unit(drop: Tensor, mask: Tensor, count: int) -> Tensor:
    """Return the drop of each unit, (count,), from drops that are equal at all entries of a unit."""
    values = torch.zeros(count, dtype=drop.dtype, device=drop.device)
    values[mask.flatten()] = drop.flatten()
    return values
