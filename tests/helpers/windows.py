"""Hand-made histories for the rules."""

from __future__ import annotations

from edgeglass_diag import site_paths
from edgeglass_diag.records import Reading, Window
from edgeglass_diag.rules import CATALOGUE, Engine, configure
from edgeglass_diag.signals import find
from edgeglass_diag.sites import (
    AttentionSite,
    BatchSite,
    EmbeddingSite,
    Kind,
    LossFunction,
    LossSite,
    ModuleSite,
    PairSite,
    ParameterSite,
    Side,
)

STEPS = [*range(11), *range(12, 400, 4)]


def module(path, order=40, parents=()):
    return ModuleSite(path=path, order=order, parents=parents)


def parameter(path, shape=(64, 64), **facts):
    return ParameterSite(path=path, **{"order": 50, "shape": shape, "optimizer": 0, "group": 0, **facts})


def embedding(name, width, side=Side.UNKNOWN):
    path = site_paths.embedding(name, width)
    return EmbeddingSite(path=path, order=60, parents=(name,), module=name, width=width, side=side)


def pair(left, right):
    path = site_paths.pair(left.path, right.path)
    return PairSite(path=path, order=70, parents=(left.path, right.path), left=left.path, right=right.path)


def batch(path, shape=(7,), dtype="int64", module=""):
    return BatchSite(path=path, order=30, module=module, argument=path, shape=shape, dtype=dtype)


IMAGE, TEXT = embedding("image", 64, Side.IMAGE), embedding("text", 64, Side.TEXT)
SIDES = [IMAGE, TEXT, *(embedding("image", width, Side.IMAGE) for width in (2, 16))]
PRODUCT = pair(IMAGE, TEXT)
PLAIN = {
    Kind.MODULE: module,
    Kind.PARAMETER: parameter,
    Kind.BATCH: batch,
    Kind.LOSS: lambda path: LossSite(path=path, function=LossFunction.CROSS_ENTROPY, reduction="mean"),
    Kind.ATTENTION: lambda path: AttentionSite(path=path, module=site_paths.parent(path)),
    Kind.EMBEDDING: {site.path: site for site in SIDES}.__getitem__,
    Kind.PAIR: {PRODUCT.path: PRODUCT}.__getitem__,
}
"""A site of each kind by its path, as far as a path is all that a test cares for."""


def window(step, readings, sites=(), origins=(), *, describe=True):
    """Readings by (path, signal), with the sites that they are at; those that are not given are plain ones."""
    signals = {name: find(name) for _, name in readings}
    rows = tuple(
        Reading(step, site, signals[name], tuple(v) if isinstance(v, (list, tuple)) else (float(v),))
        for (site, name), v in readings.items()
    )
    known = {(site.kind, site.path) for site in sites}
    places = dict.fromkeys((signals[name].kind, path) for path, name in readings)
    added = [PLAIN[kind](path) for kind, path in places if kind in PLAIN and (kind, path) not in known]
    return Window(step, rows, (*sites, *(added if describe else ())), tuple(origins))


def judge(windows, *, ended=True, **options):
    """Codes of what the whole catalogue finds, and the engine, at the end of a training or while it goes on."""
    engine = Engine(configure(CATALOGUE, {}, **options))
    for item in windows:
        engine.feed(item)
    if ended:
        engine.end()
    assert engine.failures == {}, engine.failures
    return {f.code: f for f in engine.findings}, engine


def learning(steps=STEPS, *, more_sites=(), origins=(), **overrides):
    """A healthy contrastive run: slow start near chance, then down; overrides map (site, signal) to step -> value."""
    sites = [module("image", 0), module("text", 1), IMAGE, TEXT, PRODUCT, parameter("w", order=4), *more_sites]
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
        ("image.attention", "attention/effective_num_outputs"): lambda t: [1.2, 1.5],
        ("w", "update/ratio"): lambda t: 3e-3,
        ("w", "weight/norm"): lambda t: 8.0,
        ("w", "weight/row_signal"): lambda t: 0.98,
        ("", "gradient/norm_clipped"): lambda t: 1.0,
        ("group0", "optimizer/lr"): lambda t: 1e-3,
    } | {tuple(key.split("|")): value for key, value in overrides.items()}
    for index, step in enumerate(steps):
        readings = {key: value(step) for key, value in base.items() if value is not None}
        yield window(step, readings, sites if index == 0 else (), origins if index == 0 else (), describe=index == 0)
