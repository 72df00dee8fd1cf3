"""Hypothesis strategies for alignment models: shapes, inits, batches, embeddings, losses.

What shrinks, shrinks to the smallest bad case: fewer heads, narrower widths, fewer samples, the plainest batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from edgeglass_diag.initcheck.schemes import ILL_FOR_LATENTS, SCHEMES, Scheme

NormPlacement = Literal["pre", "pre_shared", "none"]
Kind = Literal["plain", "common", "outliers", "duplicates", "constant", "tiny", "huge"]


@dataclass(frozen=True)
class ResamplerShape:
    """Sizes of a resampler and of what it reads; ``width`` is a multiple of ``heads``."""

    width: int
    heads: int
    latents: int
    layers: int
    tokens: int
    batch: int


def heads(most: int = 8) -> SearchStrategy[int]:
    """Return a strategy of numbers of heads: powers of two."""
    return st.sampled_from([2**k for k in range(most.bit_length()) if 2**k <= most])


def widths(of_heads: int = 1, *, least: int = 8, most: int = 128) -> SearchStrategy[int]:
    """Return a strategy of model widths: multiples of the number of heads, of at least ``least``."""
    return st.integers(-(-least // of_heads), max(-(-least // of_heads), most // of_heads)).map(lambda k: k * of_heads)


@st.composite
def resampler_shapes(
    draw: st.DrawFn, *, most_width: int = 128, most_latents: int = 16, most_layers: int = 3, most_tokens: int = 64
) -> ResamplerShape:
    """Return a strategy of shapes of a resampler and its input."""
    number = draw(heads())
    return ResamplerShape(
        width=draw(widths(number, least=max(8, 4 * number), most=most_width)),
        heads=number,
        latents=draw(st.integers(1, most_latents)),
        layers=draw(st.integers(1, most_layers)),
        tokens=draw(st.integers(1, most_tokens)),
        batch=draw(st.integers(2, 6)),
    )


def norm_placements() -> SearchStrategy[NormPlacement]:
    """Return a strategy of placements of the LayerNorms."""
    return st.sampled_from(("pre", "pre_shared", "none"))


def schemes(*, ill: bool = False) -> SearchStrategy[Scheme]:
    """Return a strategy of init schemes: those whose rows differ, or with ``ill`` those whose rows are all alike."""
    return st.sampled_from([s for s in SCHEMES.values() if (s.name in ILL_FOR_LATENTS) == ill])


def dtypes(*, reduced: bool = True) -> SearchStrategy[torch.dtype]:
    """Return a strategy of floating types: float32 and float64, and with ``reduced`` bfloat16 and float16."""
    return st.sampled_from([torch.float32, torch.float64, *([torch.bfloat16, torch.float16] if reduced else [])])


def seeds() -> SearchStrategy[int]:
    """Return a strategy of seeds of torch generators, which draw tensors; hypothesis would take an hour for each."""
    return st.integers(0, 2**31 - 1)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return Gaussian values of a seed, without touching torch's own generator."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def kinds(*which: Kind) -> SearchStrategy[Kind]:
    """Return a strategy of kinds of token batches, see ``batches``."""
    every: tuple[Kind, ...] = ("plain", "common", "outliers", "duplicates", "constant", "tiny", "huge")
    return st.sampled_from(which or every)


@st.composite
def batches(
    draw: st.DrawFn,
    shape: SearchStrategy[tuple[int, int, int]] | None = None,
    *,
    kind: SearchStrategy[Kind] | None = None,
) -> Tensor:
    """Return a strategy of token batches (B, L, D) as frozen towers give them, and of unusual ones.

    ``plain``: Gaussian. ``common``: most energy is the same for all tokens. ``outliers``: one channel is forty times
    as large as the rest, as in CLIP's ViTs. ``duplicates``: the second half of the batch repeats the first.
    ``constant``: all samples are equal. ``tiny`` and ``huge``: of size 1e-4 and 1e4.
    """
    sizes = draw(shape if shape is not None else st.tuples(st.integers(2, 6), st.integers(1, 32), st.integers(8, 64)))
    which = draw(kinds() if kind is None else kind)
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
    draw: st.DrawFn, *, least: int = 2, most: int = 24, most_width: int = 32, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return a strategy of embeddings (N, D), not normalised.

    They are of full rank, of low rank, nearly collapsed, with equal rows, or in few cones.
    """
    count, width = draw(st.integers(least, most)), draw(st.integers(1, most_width))
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
def pairs(draw: st.DrawFn, *, least: int = 2, most: int = 24, most_width: int = 32) -> tuple[Tensor, Tensor]:
    """Return a strategy of image and text embeddings (N, D) of pairs, from unrelated to equal."""
    image = draw(embeddings(least=least, most=most, most_width=most_width))
    noise = normal(tuple(image.shape), draw(seeds())) * image.norm() / math.sqrt(image.numel())
    share = draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))
    return image, (1 - share) * image + share * noise


@st.composite
def loss_histories(draw: st.DrawFn, *, chance: float = math.log(128)) -> list[float]:
    """Return a strategy of losses by step: learning, staying at chance, diverging, or noisy between."""
    steps = draw(st.integers(40, 160))
    noise = (0.002 * normal((steps,), draw(seeds()))).tolist()
    kind = draw(st.sampled_from(("learns", "chance", "diverges", "slow")))
    rate = {"learns": 0.97, "slow": 0.9995, "chance": 1.0, "diverges": 1.002}[kind]
    return [chance * rate**step + noise[step] for step in range(steps)]


def unusual_floats() -> SearchStrategy[float]:
    """Return a strategy of floats with NaN and infinities among them, as signals have them."""
    options: dict[str, Any] = {"allow_nan": True, "allow_infinity": True, "width": 32}
    return st.floats(**options)
