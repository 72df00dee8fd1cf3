"""How each signal is drawn: its words and unit, one colour scale per meaning, and where it is healthy.

Bounds come from the rules' own thresholds or from a source that is named; a signal for which there is neither has
none, and its words say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeglass_diag.rules.attention import AttentionStaysUniform, QueriesAlike
from edgeglass_diag.rules.embeddings import ConstantEmbeddings, RankCollapse
from edgeglass_diag.rules.optimisation import UpdateTooLarge

SHARE = [
    [0.0, "#00224e"], [0.17, "#213b6e"], [0.33, "#4c556c"], [0.5, "#7c7b78"], [0.67, "#a69d75"], [0.83, "#d3c164"],
    [1.0, "#fee838"],
]  # fmt: skip
"""Shares in [0, 1]: Cividis, even for every colour vision (https://doi.org/10.1371/journal.pone.0199239)."""

SIZE = [
    [0.0, "#440154"], [0.17, "#443983"], [0.33, "#31688e"], [0.5, "#21918c"], [0.67, "#35b779"], [0.83, "#90d743"],
    [1.0, "#fde725"],
]  # fmt: skip
"""Sizes by their power of ten: Viridis."""

DEVIATION = [
    [0.0, "#053061"], [0.17, "#2166ac"], [0.33, "#67a9cf"], [0.5, "#f7f7f7"], [0.67, "#fdb863"], [0.83, "#e08214"],
    [1.0, "#7f3b08"],
]  # fmt: skip
"""Too little (blue) and too much (orange) around what is usual (white)."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How a signal is drawn.

    ``low`` and ``high`` bound what is healthy, None where there is no bound; ``bounds`` says them with their source.
    ``extent`` fixes the ends of the colours (powers of ten where ``logarithmic``), None takes those of the data.
    ``component`` is what a cell shows of several heads, ``extreme`` which end of a stretch of steps.
    """

    label: str
    unit: str
    colors: list[list[Any]]
    bounds: str
    meaning: str
    logarithmic: bool = False
    low: float | None = None
    high: float | None = None
    extent: tuple[float, float] | None = None
    component: str = "mean"
    extreme: str = "high"

    def is_healthy(self, value: float) -> bool:
        """Whether a value lies within the bounds; NaN and infinities never do.

        >>> SCALES["update/ratio"].is_healthy(1e-3), SCALES["update/ratio"].is_healthy(float("nan"))
        (True, False)
        """
        low = float("-inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        return abs(value) != float("inf") and low <= value <= high


_DEEP_CHECKER = "TheDeepChecker"
_UNIFORM, _ALIKE, _LARGE = AttentionStaysUniform(), QueriesAlike(), UpdateTooLarge()
_CONSTANT, _RANK = ConstantEmbeddings(), RankCollapse()

SCALES: dict[str, Scale] = {
    "attention/entropy": Scale(
        "Entropy", "share of ln(valid keys), mean over heads", SHARE,
        f"above {_UNIFORM.entropy:g} attention is uniform (EG101): normal at the start, a fault where it stays so "
        "while nothing is learned",
        "1: every key gets the same weight; 0: one key gets all",
        high=_UNIFORM.entropy, extent=(0, 1), extreme="low",
    ),
    "attention/logit_std": Scale(
        "Logit std", "before the softmax, mean over heads", SIZE,
        "no bound is known; 0.5 over 577 keys is an entropy of 0.98, 5 one of 0.26",
        "how far the logits of a query spread: 0 is uniform attention",
        logarithmic=True,
    ),
    "attention/logit_max": Scale(
        "Max logit", "before the softmax, largest head", SIZE,
        "above 1e4 every training diverged (Wortsman 2023, small-scale proxies)",
        "the largest logit of any query: growth without end saturates the softmax",
        logarithmic=True, high=1e4, component="max",
    ),
    "attention/top1": Scale(
        "Top-1 mass", "share of a query's weight, mean over heads", SHARE,
        "no bound is known",
        "what the strongest key gets: 1 is attention to a single token",
        extent=(0, 1),
    ),
    "attention/distinct": Scale(
        "Distinct outputs", "effective number, smallest head", SIZE,
        f"below {1 + _ALIKE.excess:g} all queries say the same (EG102)",
        "how many different things the queries read: 1 is all alike",
        logarithmic=True, low=1 + _ALIKE.excess, component="min", extreme="low",
    ),
    "gradient/norm": Scale(
        "Gradient norm", "per parameter, after clipping", SIZE,
        f"vanishes below 1e-6, explodes above 1e6 ({_DEEP_CHECKER})",
        "what reaches each parameter",
        logarithmic=True, low=1e-6, high=1e6,
    ),
    "update/ratio": Scale(
        "Update ratio", "|change of w| / |w| in one step", DEVIATION,
        f"usual near 1e-3; healthy within 1e-4 and 1e-1 ({_DEEP_CHECKER}), above {_LARGE.ratio:g} EG202",
        "how much of a weight one optimizer step replaces",
        logarithmic=True, low=1e-4, high=_LARGE.ratio, extent=(-7, 1),
    ),
    "weight/norm": Scale(
        "Weight norm", "per parameter", SIZE, "no bound is known", "the length of each parameter", logarithmic=True,
    ),
    "activation/sample_signal": Scale(
        "Sample signal", "share of the output's energy that depends on the sample", SHARE,
        f"dead at or below {_CONSTANT.dead_signal:g} (EG301)",
        "1: outputs differ fully between samples; 0: every sample gives the same output",
        logarithmic=True, low=_CONSTANT.dead_signal, extent=(-8, 0), extreme="low",
    ),
    "activation/rms": Scale(
        "Activation size", "rms of the module's output", SIZE, "no bound is known",
        "how large outputs are: growth from module to module overflows at last", logarithmic=True,
    ),
    "embedding/effective_rank": Scale(
        "Effective rank", "of a batch of embeddings", SIZE,
        f"at most {_RANK.rank:g} is a collapse (EG302)",
        "how many directions the embeddings use", low=_RANK.rank,
    ),
}  # fmt: skip
