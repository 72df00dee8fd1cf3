"""Watched programs that evaluate, and what their records tell."""

import torch
from torch import nn

import edgeglass_diag as eg
from tests.helpers.evaluating import STEPS, Pair, Program, contrast, pairs

LAST = STEPS - 1
"""The last step, to which the evaluation behind it belongs."""


def watched(folder, program, **options):
    """A program after it ran under a watch, and its run."""
    with eg.watch(out=folder, **options):
        done = program.run()
    return done, eg.load(folder)


def values(run, signal):
    """Readings of a signal by step and site."""
    frame = run.frame(signal)
    return {(step, site): value for step, site, value in zip(frame.step, frame.site, frame.value, strict=True)}


def hooks_in_place():
    """Whether global hooks of modules, or function modes, are in place."""
    return bool(nn.modules.module._global_forward_hooks) or torch._C._len_torch_function_stack() > 0


class Contrastive(Program):
    """CLIP's loss at two widths."""

    def __init__(self, **options):
        super().__init__(**options)
        self.model = Pair()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def loss(self, step):
        return contrast(*self.model(*pairs(step)))

    def evaluate(self):
        with torch.no_grad():
            for seed in range(900, 903):
                self.evaluated.append(contrast(*self.model(*pairs(seed))).item())
