"""Attention: does it look anywhere, or at one token only?"""

from __future__ import annotations

from edgeglass_dashboards.pages.heat import HeatPage

PAGE = HeatPage(
    name="attention",
    title="Attention",
    question="Does the attention tell its tokens apart, and does it stay in bounds?",
    choices=("attention/entropy", "attention/logit_std", "attention/logit_max", "attention/top1", "attention/distinct"),
    families=("EG1",),
    fills="No attention yet. It appears with the first recorded step in which a module attends; Coverage says which "
    "attentions cannot be observed and why.",
    history="Heads of",
)
