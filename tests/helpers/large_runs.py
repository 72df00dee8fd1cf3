"""A run of many readings, written by the store's own writer."""

import numpy as np

from edgeglass_diag.records import Finding, Reading, Severity, Window
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.sites import AttentionSite, ParameterSite
from edgeglass_diag.store import RunWriter


def write_large(folder, *, windows, sites, heads, findings=300):
    """Write ``windows x sites x heads`` readings of attention and one gradient norm per site and window."""
    names = [f"image_encoder.transformer.resblocks.{number}.cross_attention.to_query" for number in range(sites)]
    header = {"settings": {"total_steps": 10 * windows}}
    writer = RunWriter(folder, name=folder.name, header=header)
    random = np.random.default_rng(0)
    values = [tuple(row) for row in random.random((sites, heads)).tolist()]
    seen = tuple(kind(path=name) for name in names for kind in (AttentionSite, ParameterSite))
    for step in range(windows):
        readings = [Reading(step, "", LOSS_TOTAL, (4.85,)), Reading(step, "", LOSS_CHANCE, (4.852,))]
        readings += [Reading(step, name, ATTENTION_ENTROPY, row) for name, row in zip(names, values, strict=True)]
        readings += [Reading(step, name, GRADIENT_NORM, (float(step),)) for name in names]
        found = [_finding(step, names[step % sites]) for _ in range(step < findings)]
        writer.write(Window(step, tuple(readings), seen if step == 0 else ()), found)
    writer.finish("finished", {})
    return windows * sites * (heads + 1)


def _finding(step, site):
    message = f'the gradient of "{site}" vanishes é ' + "and so on " * 60
    evidence = {f"measure_{number}": [float(number)] * 40 for number in range(40)}
    severity = Severity.CRITICAL if step % 2 else Severity.WARNING
    return Finding(f"EG2{step:02d}", "gradient-vanishes", severity, f"{site}.{step}", step, message, evidence, message)
