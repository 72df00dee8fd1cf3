"""Hand-made histories for the rules."""

from __future__ import annotations

from edgeglass_diag.records import Reading, Site, Window
from edgeglass_diag.rules import CATALOGUE, Engine, configure

STEPS = [*range(11), *range(12, 400, 4)]


def window(step, readings, sites=(), origins=()):
    rows = tuple(
        Reading(step, site, signal, tuple(v) if isinstance(v, (list, tuple)) else (float(v),))
        for (site, signal), v in readings.items()
    )
    return Window(step, rows, tuple(sites), tuple(origins))


def judge(windows, **options):
    """Codes of what the whole catalogue finds, and the engine."""
    engine = Engine(configure(CATALOGUE, {}, **options))
    for item in windows:
        engine.feed(item)
    assert engine.failures == {}, engine.failures
    return {f.code: f for f in engine.findings}, engine


def learning(steps=STEPS, *, more_sites=(), origins=(), **overrides):
    """A healthy contrastive run: slow start near chance, then down; overrides map (site, signal) to step -> value."""
    sites = [
        Site("image", "module", 0),
        Site("text", "module", 1),
        Site("image[:64]", "embedding", 2, ("image",), "image"),
        Site("text[:64]", "embedding", 3, ("text",), "text"),
        Site("w", "parameter", 4, ("group0",), "64x64"),
        *more_sites,
    ]
    base = {
        ("", "loss/total"): lambda t: 4.852 * (0.3 + 0.7 * 0.97**t),
        ("", "loss/chance"): lambda t: 4.852,
        ("", "loss/explained"): lambda t: 4.852 * (0.3 + 0.7 * 0.97**t),
        ("cross_entropy", "loss/logit_std"): lambda t: 0.3 + 0.05 * t,
        ("cross_entropy", "loss/accuracy"): lambda t: min(0.9, 0.01 + 0.01 * t),
        ("cross_entropy", "loss/rows"): lambda t: 128,
        ("cross_entropy", "loss/candidates"): lambda t: 128,
        ("cross_entropy", "loss/weight"): lambda t: 1.0,
        ("image[:64]", "embedding/sample_signal"): lambda t: 0.0044 + 0.01 * t,
        ("text[:64]", "embedding/sample_signal"): lambda t: 0.2,
        ("image[:64]", "embedding/effective_rank"): lambda t: 20 + t / 10,
        ("image[:64] x text[:64]", "embedding/scale"): lambda t: 14.3,
        ("image", "activation/sample_signal"): lambda t: 0.4,
        ("image.attention", "attention/entropy"): lambda t: [0.99, 0.995],
        ("image.attention", "attention/logit_std"): lambda t: [0.3, 0.2],
        ("image.attention", "attention/distinct"): lambda t: [1.2, 1.5],
        ("w", "update/ratio"): lambda t: 3e-3,
        ("w", "weight/norm"): lambda t: 8.0,
        ("w", "weight/row_signal"): lambda t: 0.98,
        ("", "gradient/norm_clipped"): lambda t: 1.0,
        ("group0", "optimizer/lr"): lambda t: 1e-3,
    } | {tuple(key.split("|")): value for key, value in overrides.items()}
    for index, step in enumerate(steps):
        readings = {key: value(step) for key, value in base.items() if value is not None}
        yield window(step, readings, sites if index == 0 else (), origins if index == 0 else ())
