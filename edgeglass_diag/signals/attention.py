"""Signals of attention."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Components, Drawing, Palette, Reduction, Signal, Usual
from edgeglass_diag.sites import Kind

_ENTROPY = Drawing(
    "Entropy",
    "share of ln(valid keys), mean over heads",
    Palette.SHARE,
    "1: every key gets the same weight; 0: one key gets all",
    "above {high:g} attention is uniform: normal at the start, a fault where it stays so while nothing is learned",
    extent=(0, 1),
    extreme="low",
)
_LOGIT_STD = Drawing(
    "Logit std",
    "before the softmax, mean over heads",
    Palette.SIZE,
    "how far the logits of a query spread: 0 is uniform attention",
    "no bound is known; 0.5 over 577 keys is an entropy of 0.98, 5 one of 0.26",
    logarithmic=True,
)
_LOGIT_MAX = Drawing(
    "Max logit",
    "before the softmax, largest head",
    Palette.SIZE,
    "the largest logit of any query: growth without end saturates the softmax",
    "above {high:g} every training diverged",
    logarithmic=True,
    component="max",
)
_TOP1 = Drawing(
    "Top-1 mass",
    "share of a query's weight, mean over heads",
    Palette.SHARE,
    "what the strongest key gets: 1 is attention to a single token",
    extent=(0, 1),
)
_OUTPUTS = Drawing(
    "Distinct outputs",
    "effective number, smallest head",
    Palette.SIZE,
    "how many different things the queries read: 1 is all alike",
    "below {low:g} all queries read the same",
    logarithmic=True,
    component="min",
    extreme="low",
)
_STABLE_LOGITS = Usual(None, 1e4, "Wortsman 2023, small-scale proxies, https://arxiv.org/abs/2309.14322")

ATTENTION_LOGIT_MEAN = register(
    Signal("attention/logit_mean", Kind.ATTENTION, "Mean logit over the valid keys.", components=Components.HEADS)
)
ATTENTION_LOGIT_STD = register(
    Signal(
        "attention/logit_std",
        Kind.ATTENTION,
        "Standard deviation of a query's logits over its valid keys: 0 is uniform attention.",
        components=Components.HEADS,
        low=0,
        drawing=_LOGIT_STD,
    )
)
ATTENTION_LOGIT_MAX = register(
    Signal(
        "attention/logit_max",
        Kind.ATTENTION,
        "Largest valid logit of any query.",
        components=Components.HEADS,
        reduction=Reduction.MAX,
        drawing=_LOGIT_MAX,
        usual=_STABLE_LOGITS,
    )
)
ATTENTION_ENTROPY = register(
    Signal(
        "attention/entropy",
        Kind.ATTENTION,
        "Softmax entropy divided by ln(valid keys): 1 is uniform, 0 looks at one key.",
        components=Components.HEADS,
        low=0,
        high=1,
        drawing=_ENTROPY,
    )
)
ATTENTION_ENTROPY_SE = register(
    Signal(
        "attention/entropy_se",
        Kind.ATTENTION,
        "Standard error of the entropy where a subset of queries was looked at.",
        components=Components.HEADS,
        low=0,
    )
)
ATTENTION_TOP1 = register(
    Signal(
        "attention/top1",
        Kind.ATTENTION,
        "Largest weight of a query.",
        components=Components.HEADS,
        low=0,
        high=1,
        drawing=_TOP1,
    )
)
ATTENTION_EFFECTIVE_NUM_OUTPUTS = register(
    Signal(
        "attention/effective_num_outputs",
        Kind.ATTENTION,
        "Effective number of distinct outputs among the queries: 1 is all alike.",
        components=Components.HEADS,
        low=1,
        drawing=_OUTPUTS,
        former=("attention/distinct",),
    )
)
ATTENTION_VALID_KEYS = register(
    Signal(
        "attention/valid_keys",
        Kind.ATTENTION,
        "Share of keys that the mask leaves.",
        components=Components.HEADS,
        low=0,
        high=1,
    )
)
ATTENTION_MASKED_QUERIES = register(
    Signal(
        "attention/masked_queries",
        Kind.ATTENTION,
        "Share of queries without any valid key.",
        components=Components.HEADS,
        low=0,
        high=1,
    )
)
ATTENTION_PADDING_MASS = register(
    Signal(
        "attention/padding_mass",
        Kind.ATTENTION,
        "Mass that the softmax would put on padding keys were they not masked.",
        components=Components.HEADS,
        low=0,
        high=1,
    )
)
ATTENTION_FIRST_QUERY_KEYS = register(
    Signal(
        "attention/first_query_keys",
        Kind.ATTENTION,
        "Most keys that the query at position 0 sees in any sample of a self-attention: 1 under a causal mask.",
        components=Components.HEADS,
        reduction=Reduction.MAX,
        low=0,
    )
)
OPERAND_QUERIES = register(Signal("operand/queries", Kind.ATTENTION, "Number of queries.", low=0))
OPERAND_KEYS = register(Signal("operand/keys", Kind.ATTENTION, "Number of keys.", low=0))
OPERAND_LEARNED = register(
    Signal(
        "operand/learned",
        Kind.ATTENTION,
        "1 where the queries are the same for every sample, as latents are.",
        low=0,
        high=1,
    )
)
OPERAND_OWN_SHARE = register(
    Signal(
        "operand/own_share",
        Kind.ATTENTION,
        "Share of the projected queries' energy in which they differ from their mean.",
        low=0,
        high=1,
    )
)
OPERAND_QUERY_RMS = register(
    Signal("operand/query_rms", Kind.ATTENTION, "Root mean square of what goes into the query projection.", low=0)
)
OPERAND_QUERY_SPREAD = register(
    Signal(
        "operand/query_spread",
        Kind.ATTENTION,
        "Share of the energy of the queries' input in which positions differ from their mean.",
        low=0,
        high=1,
    )
)
