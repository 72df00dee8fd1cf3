"""A record with everything that a sink shows, NaN and infinities among it, and what a sink must hold of it."""

from __future__ import annotations

import numpy as np

import edgeglass_diag as eg
from edgeglass_diag.records import Finding, RunStatus, Severity
from edgeglass_diag.store import RunWriter
from tests.helpers.windows import window

NAN, INF = float("nan"), float("inf")
LOSSES = {0: 4.852, 1: NAN, 2: INF, 5: -INF, 10: 0.1}
FINDINGS = (
    Finding("EG801", "non-finite", Severity.CRITICAL, "", 1, "The loss is NaN", {"loss": NAN}, "Lower it"),
    Finding("EG101", "uniform", Severity.WARNING, "image.attention#1", 5, "Uniform attention: ü", sites=("a", "b")),
    Finding("EG101", "uniform", Severity.INFO, "text[:64]", 5, "Uniform, too"),
)


def recorded(folder, *, embeddings=True, **header):
    """A finished record of five windows, without a training."""
    writer = RunWriter(folder, name=folder.name, header={"rules": [], **header})
    for step, loss in LOSSES.items():
        readings = {
            ("", "loss/total"): loss,
            ("image.attention#1", "attention/entropy"): [0.5, NAN, 0.25, step / 16],
            ("text[:64].attention", "attention/entropy"): [0.125],
            ("w", "gradient/norm"): 0.1 * step,
            ("block.0.bias", "gradient/norm"): 1 / 3,
            ("broken", "gradient/norm"): NAN,
            ("", "gradient/norm_clipped"): 1.0,
        }
        writer.write(window(step, readings, describe=False), FINDINGS)
    writer.write(window(5, {("", "metric/val/loss"): 1e-12}, describe=False), FINDINGS)
    if embeddings:
        for step in (0, 10):
            writer.write_embeddings(step, *pairs(step))
    writer.finish(RunStatus.FINISHED, {})
    return folder


def pairs(step):
    """Image and text embeddings, the last image not finite, all texts the same at step 10."""
    random = np.random.default_rng(step)
    image, text = random.normal(size=(2, 12, 4)).astype(np.float32)
    image[-1, 0] = np.nan
    return image, np.ones_like(text) if step == 10 else text


def numbers(folder):
    """All numbers of a run by name and step, as its frames have them."""
    with eg.load(folder) as run:
        frames = {signal: run.frame(signal) for signal in run.signals}
    found = {}
    for signal, frame in frames.items():
        for step, site, component, value in frame.itertuples(index=False):
            name = f"{signal}/{site}" if site else str(signal)
            found[f"{name}/head{component}" if signal.startswith("attention/") else name, step] = value
    return found


def assert_same(got, expected):
    """The same numbers under the same names, NaN and infinities too."""
    assert got.keys() == expected.keys()
    names = sorted(expected)
    np.testing.assert_array_equal([got[name] for name in names], [expected[name] for name in names])
