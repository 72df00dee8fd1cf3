"""Attention: does it look anywhere, or at one token only?"""

from __future__ import annotations

from edgeglass_dashboards.pages.heat import HeatPage
from edgeglass_diag.signals.attention import (
    ATTENTION_EFFECTIVE_NUM_OUTPUTS,
    ATTENTION_ENTROPY,
    ATTENTION_LOGIT_MAX,
    ATTENTION_LOGIT_STD,
    ATTENTION_TOP1,
)

PAGE = HeatPage(
    name="attention",
    title="Attention",
    question="Does the attention tell its tokens apart, and does it stay in bounds?",
    choices=(
        ATTENTION_ENTROPY,
        ATTENTION_LOGIT_STD,
        ATTENTION_LOGIT_MAX,
        ATTENTION_TOP1,
        ATTENTION_EFFECTIVE_NUM_OUTPUTS,
    ),
    fills="No attention yet. It appears with the first recorded step in which a module attends; Coverage says which "
    "attentions cannot be observed and why.",
    history="Heads of",
)
