"""The sentence for each reason why a site is not observed: made here, where it is shown, and read by no program."""

from __future__ import annotations

from collections.abc import Mapping

from edgeglass_diag.sites import Coverage, Site

SENTENCES: Mapping[Coverage, str] = {
    Coverage.OBSERVED: "observed",
    Coverage.FROZEN: "frozen",
    Coverage.NOT_CALLED: "not called with gradients in the recorded windows",
    Coverage.NOT_HELD: "trainable, but held by no optimizer that has stepped",
    Coverage.NOT_HELD_WITH_GRADIENT: "trainable and given a gradient, but held by no optimizer that has stepped",
    Coverage.HELD_WITHOUT_GRADIENT: "held by an optimizer, but without gradient",
    Coverage.GRADIENT_TAKEN_AWAY: "held by an optimizer; the gradient that backward gave it was set to None before the "
    "step",
    Coverage.HELD_FROZEN: "held by an optimizer, but frozen, so without gradient",
    Coverage.COMPILED: "inside a region compiled by torch.compile or torch.jit, which hooks cannot enter; of a module "
    "that one of them wraps, inputs and outputs are observed",
    Coverage.COMPILED_ATTENTION: "its logits stay inside a region compiled by torch.compile or torch.jit: watch one "
    "run with TORCHDYNAMO_DISABLE=1 (torch.jit: PYTORCH_JIT=0), or compile the modules around it and not this one",
    Coverage.KERNEL_WITHOUT_GRADIENTS: "ran without gradients, where it is left to choose its own kernel",
    Coverage.KERNEL_COMPILED: "compiled: flex_attention keeps its logits inside",
    Coverage.NESTED_TENSOR: "nested tensors are not measured",
    Coverage.FOREIGN_TENSOR: "tensors whose class computes by code of its own (__torch_dispatch__) are not measured",
    Coverage.NOT_CONTRASTIVE: "no contrastive loss",
    Coverage.UNKNOWN_LOSS: "what goes backward comes of no loss function that is known: its logits, its scale and its "
    "chance level are not",
    Coverage.TOO_MANY_FORWARDS: "windows with so many forward passes are not recorded",
    Coverage.TOO_DEEP: "windows in which so many modules run inside each other are not recorded",
    Coverage.OTHER_THREAD_TRAINS: "another thread trains as well; its steps are not recorded",
    Coverage.NO_OPTIMIZER: "no optimizer of torch has stepped and no weight was seen to be written, so that no window "
    "has ended",
    Coverage.STEPS_BY_HAND: "other code than an optimizer of torch writes to the weights: its learning rate, groups "
    "and state are not recorded",
    Coverage.RECORDER_FAILED: "the recorder failed here",
    Coverage.NOT_PROBED: "not probed",
    Coverage.OTHER: "not observed",
}


def coverage_text(site: Site) -> str:
    """Return the sentence that says whether a site is observed, and why not."""
    return f"{SENTENCES[site.coverage]}: {site.detail}" if site.detail else SENTENCES[site.coverage]
