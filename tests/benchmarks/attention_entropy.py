"""Entropy of attention: exact in one pass of the attention itself, against the sample that the recorder looks at.

With s the logits of a query and p their softmax, H = ln Z - sum p s. A fused kernel returns ln Z (logsumexp), and
sum p s = scale q . (P K) is its output with the keys in the place of the values; the kernel gives both in one pass over
[V | K]. The recorder cannot change the user's own pass (its results are to stay bit-identical), so an exact entropy
costs one pass more, of which this measures the time: "one pass" is the fused kernel over K alone. "blocks" are the
recorder's own statistics of all logits, "sampled" those of its default sample.

Errors are those of the mean entropy of a head, divided by ln(keys), against float64: the largest over heads. Logits
have a standard deviation of 0.3 (close to uniform), 3 and 12 (saturated), and differ from sample to sample.

    python tests/benchmarks/attention_entropy.py                 # on CUDA where there is one
    python tests/benchmarks/attention_entropy.py --device cpu
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from edgeglass_diag.measures.attention import AttentionStatistics, attention_statistics
from edgeglass_diag.measures.sampling import strided_subset
from edgeglass_diag.record.attention_layout import LOGITS

SPREADS = (0.3, 3.0, 12.0)


@dataclass(frozen=True)
class Shape:
    """Shape of an attention: batch, heads, queries, keys, width of a head."""

    name: str
    batch: int
    heads: int
    queries: int
    keys: int
    width: int


ON_CUDA = (
    Shape("64 latents over 257 tokens", 64, 8, 64, 257, 128),
    Shape("ViT-L/14", 128, 16, 257, 257, 64),
    Shape("4096 tokens", 2, 32, 4096, 4096, 128),
)
ON_CPU = (
    Shape("64 latents over 257 tokens", 32, 8, 64, 257, 64),
    Shape("ViT-B/16", 8, 12, 197, 197, 64),
    Shape("1024 tokens", 1, 8, 1024, 1024, 64),
)


def drawn(shape: Shape, spread: float, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Return queries (B, H, L, E) and keys (B, H, S, E) whose logits deviate by ``spread``, by half to twice of it."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(shape.batch, shape.heads, shape.queries, shape.width, generator=generator)
    key = torch.randn(shape.batch, shape.heads, shape.keys, shape.width, generator=generator)
    factor = spread * 2 ** (2 * torch.rand(shape.batch, 1, 1, 1, generator=generator) - 1)
    return (query * factor).to(device, dtype), key.to(device, dtype)


def reference(query: Tensor, key: Tensor) -> Tensor:
    """Return the mean entropy of each head over ln(keys) in float64: (H,)."""
    total = torch.zeros(query.shape[1], dtype=torch.float64)
    for q, k in zip(query.double().cpu(), key.double().cpu(), strict=True):
        for head in range(len(q)):
            logs = torch.log_softmax(q[head] @ k[head].mT / math.sqrt(q.shape[-1]), dim=-1)
            total[head] -= (logs.exp() * logs).sum(-1).mean()
    return total / len(query) / math.log(key.shape[2])


def one_pass(query: Tensor, key: Tensor) -> Tensor:
    """Return the same by a fused kernel with the keys as values: ln Z - scale q . (P K)."""
    mixed, logsumexp = _fused(query, key)
    expected = (query.float() * mixed.float()).sum(-1) / math.sqrt(query.shape[-1])
    return (logsumexp.float() - expected).mean((0, 2)) / math.log(key.shape[2])


def _fused(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    aten = torch.ops.aten
    if query.device.type == "cpu":
        mixed, logsumexp = aten._scaled_dot_product_flash_attention_for_cpu(query, key, key)
    elif query.dtype == torch.float32:
        mixed, logsumexp = aten._scaled_dot_product_efficient_attention(query, key, key, None, True)[:2]
    else:
        mixed, logsumexp = aten._scaled_dot_product_flash_attention(query, key, key)[:2]
    return mixed, logsumexp[..., : query.shape[2]]  # padded to whole blocks on CUDA


def blocks(query: Tensor, key: Tensor) -> Tensor:
    """Return the recorder's statistic of all logits: (H,)."""
    return attention_statistics(query, key).entropy


def sampled(query: Tensor, key: Tensor) -> Tensor:
    """Return the recorder's statistic of its default sample: (H,)."""
    return _sample(query, key).entropy


def _sample(query: Tensor, key: Tensor) -> AttentionStatistics:
    batch, heads, queries = query.shape[:3]
    subset = strided_subset(batch, queries, heads * key.shape[2], LOGITS)
    return attention_statistics(query, key, subset=subset)


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"sampled": sampled, "blocks": blocks, "one pass": one_pass}


def milliseconds(call: Callable[[], object], device: str, repeats: int) -> float:
    """Return the shortest time of a call, which other load disturbs least; on CUDA by events."""
    call()
    times = []
    for _ in range(repeats):
        if device == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            call()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
        else:
            start = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - start))
    return min(times)


def rows(shape: Shape, dtype: torch.dtype, device: str, repeats: int) -> list[str]:
    """Return one row of the table for each way."""
    errors: dict[str, list[float]] = {name: [] for name in WAYS}
    deviations = []
    for spread in SPREADS:
        query, key = drawn(shape, spread, dtype, device)
        right = reference(query, key)
        for name, way in WAYS.items():
            errors[name].append(float((way(query, key).double().cpu() - right).abs().max()))
        sample = _sample(query, key)
        if sample.entropy_se is not None:
            deviations.append(float(((sample.entropy.cpu() - right) / sample.entropy_se.cpu()).abs().max()))
    query, key = drawn(shape, 1.0, dtype, device)
    attention = milliseconds(lambda: _fused(query, key), device, repeats)
    found = []
    for name, way in WAYS.items():
        took = milliseconds(lambda way=way: way(query, key), device, repeats)  # type: ignore[misc]
        words = (
            f"sampled, off by {max(deviations):.1f} of its standard errors"
            if name == "sampled" and deviations
            else name
        )
        cells = [shape.name, str(dtype).removeprefix("torch."), words, *(f"{error:.1e}" for error in errors[name])]
        found.append(f"| {' | '.join([*cells, f'{took:.2f} ms', f'{took / attention:.2f}'])} |")
    return found


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)  # threads that wait for one another on a shared machine take more than the work
    name = torch.cuda.get_device_name() if given.device == "cuda" else f"{torch.get_num_threads()} thread"
    print(f"torch {torch.__version__}, {given.device}, {name}\n")
    errors = " | ".join(f"error, logits {spread:g}" for spread in SPREADS)
    print(f"| attention | dtype | way | {errors} | time | in passes of the attention |")
    print(f"| {' | '.join(['---'] * (5 + len(SPREADS)))} |")
    for shape in ON_CUDA if given.device == "cuda" else ON_CPU:
        for dtype in (torch.float32, torch.bfloat16):
            print("\n".join(rows(shape, dtype, given.device, given.repeats)), flush=True)


if __name__ == "__main__":
    main()
