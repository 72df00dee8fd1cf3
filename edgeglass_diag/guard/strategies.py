"""Hypothesis strategies for alignment models: shapes, inits, batches, embeddings, losses.

Examples shrink towards fewer heads, narrower widths, fewer samples and Gaussian batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from edgeglass_diag.extras import extra
from edgeglass_diag.initcheck.schemes import IDENTICAL_ROWS, SCHEMES, Scheme

with extra("test", "edgeglass_diag.guard.strategies"):
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy

NormPlacement = Literal["pre", "pre_shared", "none"]
BatchKind = Literal["plain", "common", "outliers", "duplicates", "constant", "tiny", "huge"]


@dataclass(frozen=True)
class ResamplerShape:
    """Sizes of a resampler and of its input (batch, tokens, width); ``width`` is a multiple of ``heads``."""

    width: int
    heads: int
    latents: int
    layers: int
    tokens: int
    batch: int


def heads(max_heads: int = 8) -> SearchStrategy[int]:
    """Return numbers of heads: powers of two up to ``max_heads``."""
    return st.sampled_from([2**k for k in range(max_heads.bit_length()) if 2**k <= max_heads])


def widths(num_heads: int = 1, *, min_width: int = 8, max_width: int = 128) -> SearchStrategy[int]:
    """Return model widths: multiples of the number of heads in [min_width, max_width], at least one of them."""
    smallest = -(-min_width // num_heads)
    return st.integers(smallest, max(smallest, max_width // num_heads)).map(lambda k: k * num_heads)


@st.composite
def resampler_shapes(
    draw: st.DrawFn, *, max_width: int = 128, max_latents: int = 16, max_layers: int = 3, max_tokens: int = 64
) -> ResamplerShape:
    """Return shapes of a resampler and its input, with a batch of 2 to 6."""
    number = draw(heads())
    return ResamplerShape(
        width=draw(widths(number, min_width=max(8, 4 * number), max_width=max_width)),
        heads=number,
        latents=draw(st.integers(1, max_latents)),
        layers=draw(st.integers(1, max_layers)),
        tokens=draw(st.integers(1, max_tokens)),
        batch=draw(st.integers(2, 6)),
    )


def norm_placements() -> SearchStrategy[NormPlacement]:
    """Return placements of the LayerNorms of a resampler."""
    return st.sampled_from(("pre", "pre_shared", "none"))


def schemes(*, identical_rows: bool = False) -> SearchStrategy[Scheme]:
    """Return init schemes whose rows differ; with ``identical_rows`` those with equal rows, a fault for latents."""
    return st.sampled_from([s for s in SCHEMES.values() if (s.name in IDENTICAL_ROWS) == identical_rows])


def dtypes(*, reduced: bool = True) -> SearchStrategy[torch.dtype]:
    """Return float32 and float64, and with ``reduced`` bfloat16 and float16."""
    return st.sampled_from([torch.float32, torch.float64, *([torch.bfloat16, torch.float16] if reduced else [])])


def seeds() -> SearchStrategy[int]:
    """Return seeds of torch generators; torch draws the tensors, as hypothesis is too slow for single elements."""
    return st.integers(0, 2**31 - 1)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return standard normal values from a seed; torch's global generator is not used."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batch_kinds(*which: BatchKind) -> SearchStrategy[BatchKind]:
    """Return kinds of token batches, see ``batches``; all of them if none is given."""
    every: tuple[BatchKind, ...] = ("plain", "common", "outliers", "duplicates", "constant", "tiny", "huge")
    return st.sampled_from(which or every)


@st.composite
def batches(
    draw: st.DrawFn,
    shape: SearchStrategy[tuple[int, int, int]] | None = None,
    *,
    kind: SearchStrategy[BatchKind] | None = None,
) -> Tensor:
    """Return token batches (B, L, D): typical outputs of a frozen tower, and degenerate ones.

    ``plain``: Gaussian. ``common``: most energy is the same for all tokens. ``outliers``: one channel is forty times
    as large as the rest, as in CLIP's ViTs. ``duplicates``: the second half of the batch repeats the first.
    ``constant``: all samples are equal. ``tiny`` and ``huge``: of size 1e-4 and 1e4.
    """
    sizes = draw(shape if shape is not None else st.tuples(st.integers(2, 6), st.integers(1, 32), st.integers(8, 64)))
    which = draw(batch_kinds() if kind is None else kind)
    seed = draw(seeds())
    tokens = normal(sizes, seed)
    match which:
        case "common":
            tokens = 0.5 * tokens + normal((sizes[2],), seed + 1)
        case "outliers":
            tokens[..., seed % sizes[2]] *= 40
        case "duplicates":
            half = sizes[0] // 2
            tokens[half : 2 * half] = tokens[:half]
        case "constant":
            tokens = tokens[:1].expand(sizes).clone()
        case "tiny" | "huge":
            tokens = tokens * (1e-4 if which == "tiny" else 1e4)
        case _:
            pass
    return tokens


@st.composite
def embeddings(
    draw: st.DrawFn, *, min_size: int = 2, max_size: int = 24, max_width: int = 32, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return embeddings (N, D), not normalised: of full rank, of low rank, nearly collapsed, constant, or clustered."""
    count, width = draw(st.integers(min_size, max_size)), draw(st.integers(1, max_width))
    seed = draw(seeds())
    rows = normal((count, width), seed).to(dtype)
    match draw(st.sampled_from(("plain", "low_rank", "collapsed", "equal", "clustered"))):
        case "low_rank":
            rank = 1 + seed % min(count, width)
            rows = normal((count, rank), seed + 1).to(dtype) @ normal((rank, width), seed + 2).to(dtype)
        case "collapsed":
            rows = normal((width,), seed + 1).to(dtype) + 0.01 * rows
        case "equal":
            rows = rows[:1].expand(count, width).clone()
        case "clustered":
            rows = rows[torch.arange(count) % max(1, count // 3)] + 0.05 * normal((count, width), seed + 3).to(dtype)
        case _:
            pass
    return rows * draw(st.sampled_from((1.0, 1e-3, 1e3)))


@st.composite
def pairs(draw: st.DrawFn, *, min_size: int = 2, max_size: int = 24, max_width: int = 32) -> tuple[Tensor, Tensor]:
    """Return image and text embeddings (N, D) of N pairs, from unrelated to equal."""
    image = draw(embeddings(min_size=min_size, max_size=max_size, max_width=max_width))
    noise = normal(tuple(image.shape), draw(seeds())) * image.norm() / math.sqrt(image.numel())
    share = draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))
    return image, (1 - share) * image + share * noise


@st.composite
def loss_histories(draw: st.DrawFn, *, chance: float = math.log(128)) -> list[float]:
    """Return losses in nats by step, 40 to 160 of them: learning, learning slowly, at chance, or diverging."""
    steps = draw(st.integers(40, 160))
    noise = (0.002 * normal((steps,), draw(seeds()))).tolist()
    kind = draw(st.sampled_from(("learns", "chance", "diverges", "slow")))
    rate = {"learns": 0.97, "slow": 0.9995, "chance": 1.0, "diverges": 1.002}[kind]
    return [chance * rate**step + noise[step] for step in range(steps)]


def unusual_floats() -> SearchStrategy[float]:
    """Return float32 values, NaN and infinities among them."""
    options: dict[str, Any] = {"allow_nan": True, "allow_infinity": True, "width": 32}
    return st.floats(**options)
