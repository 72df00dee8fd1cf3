"""Windows of a training that never was, as a long run has them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgeglass_dashboards.pages import attention
from edgeglass_diag.records import Reading, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.signals.activations import ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, GRADIENT_NORM_CLIPPED, UPDATE_RATIO, WEIGHT_NORM
from edgeglass_diag.sites import AttentionSite, ModuleSite, ParameterSite

ATTENTION = attention.PAGE.choices


@dataclass
class Synthetic:
    """A training of many attentions: noise, a slow trend, single spikes, some NaN."""

    sites: int
    heads: int
    signals: int
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def window(self, step: int) -> Window:
        """What a recorded window would hold."""
        names = [f"encoder.layers.{i}.attention" for i in range(self.sites)]
        readings = []
        for signal in ATTENTION[: self.signals]:
            values = self.random.random((self.sites, self.heads), np.float32) * 0.2 + 0.8 / (1 + step / 20_000)
            values[self.random.integers(self.sites), self.random.integers(self.heads)] = self.random.choice([9, np.nan])
            readings += [
                Reading(step, name, signal, tuple(row)) for name, row in zip(names, values.tolist(), strict=True)
            ]
        for signal in (GRADIENT_NORM, WEIGHT_NORM, UPDATE_RATIO, ACTIVATION_SAMPLE_SIGNAL):
            values = self.random.random(self.sites)
            readings += [
                Reading(step, name, signal, (value,)) for name, value in zip(names, values.tolist(), strict=True)
            ]
        readings += [
            Reading(step, "", LOSS_TOTAL, (4.85 / (1 + step / 9000),)),
            Reading(step, "", LOSS_CHANCE, (4.85,)),
        ]
        readings += [Reading(step, "", GRADIENT_NORM, (1.0,)), Reading(step, "", GRADIENT_NORM_CLIPPED, (1.0,))]
        if step % 500 == 0:
            found = {metric("i2t/R@1"): 0.2, metric("t2i/R@1"): 0.1, metric("n"): 1000.0}
            readings += [Reading(step, "", signal, (value,)) for signal, value in found.items()]
        kinds = (AttentionSite, ModuleSite, ParameterSite) if step == 0 else ()
        sites = tuple(kind(path=name, order=i) for i, name in enumerate(names) for kind in kinds)
        return Window(step, tuple(readings), sites)
