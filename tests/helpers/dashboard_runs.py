"""Runs as a training would write them, for the tests of the dashboard."""

import math
from dataclasses import asdict
from pathlib import Path

from edgeglass_diag.records import Bounds, ConfiguredRule, Finding, Reading, Severity, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.signals.activations import ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.attention import ATTENTION_EFFECTIVE_NUM_OUTPUTS, ATTENTION_ENTROPY
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.signals.parameters import UPDATE_RATIO
from edgeglass_diag.store import RunWriter

CHANCE = math.log(128)


def rule(code, page, signal=None, **ends):
    signals, bounds = ((signal,), {signal: Bounds(**ends)}) if signal else ((), {})
    return ConfiguredRule(code, code, code, page=page, signals=signals, bounds=bounds)


RULES = (
    rule("EG001", "coverage"),
    rule("EG101", "attention", ATTENTION_ENTROPY, high=0.98),
    rule("EG102", "attention", ATTENTION_EFFECTIVE_NUM_OUTPUTS, low=1.01),
    rule("EG202", "gradients", UPDATE_RATIO, high=0.1),
    rule("EG203", "gradients", UPDATE_RATIO),
    rule("EG205", "gradients"),
    rule("EG301", "signal", ACTIVATION_SAMPLE_SIGNAL, low=1e-4),
    rule("EG401", "overview", LOSS_TOTAL),
    rule("EG601", "retrieval"),
)
"""Where the rules of these runs are shown, and the bounds that they gave."""
CONSTANT = Finding(
    "EG301", "constant-embeddings", Severity.CRITICAL, "image_encoder.perceiver.resampler", 20,
    "the image embeddings are the same for every image: sample signal 0.0004",
    {"sample_signal": 0.0004, "pairwise_cosine": 0.9998, "effective_rank": [1.01, 1.0, 1.02]},
    "scale the latents to std 0.02 and normalise before the cross attention",
)  # fmt: skip
AT_CHANCE = Finding(
    "EG401", "loss-at-chance", Severity.CRITICAL, "loss#0", 30, "the loss stays at ln 128 = 4.85",
    {"loss": 4.851, "chance": CHANCE}, "follow the cause first", "EG301",
)  # fmt: skip
UPDATES = Finding(
    "EG203", "update-ratio-high", Severity.WARNING, "image_encoder.perceiver.layers.0.cross_attention.to_q.weight", 10,
    "each update changes the weight by 8 %", {"ratio": 0.08, "healthy": 0.001}, "lower the learning rate to 2e-4",
)  # fmt: skip
EXACT = Finding(
    "EG601", "recall-exactly-chance", Severity.WARNING, "", 50, "R@1 is exactly 1/512",
    {"recall": 0.001953, "n": 512}, "look at the embeddings, not at the metric", "EG401",
)  # fmt: skip
SCHEDULE = Finding(
    "EG205", "schedule-overrun", Severity.WARNING, "optimizer", 60, "the schedule ends at step 60 of 500",
    {"end": 60, "total": 500}, "let the schedule end with the training",
)  # fmt: skip
OVERWRITTEN = Finding(
    "EG001", "overwritten-init", Severity.INFO, "head.weight", 0, "an initial value was written twice",
    {"writes": "normal_ (model.py:41), xavier_uniform_ (model.py:63)"}, "keep the write that is meant",
)  # fmt: skip
COLLAPSED = (CONSTANT, AT_CHANCE, UPDATES, EXACT, SCHEDULE, OVERWRITTEN)


def start(folder: Path, *, total_steps: int = 500, name: str = "perceiver", rules=RULES) -> RunWriter:
    header = {"settings": {"total_steps": total_steps}, "rules": [asdict(rule) for rule in rules]}
    return RunWriter(folder, name=name, header=header)


def window(step: int, *, loss: float = 4.85, recall: float | None = None) -> Window:
    readings = [Reading(step, "", LOSS_TOTAL, (loss,)), Reading(step, "", LOSS_CHANCE, (CHANCE,))]
    if recall is not None:
        readings += [
            Reading(step, "", metric("i2t/R@1"), (recall,)),
            Reading(step, "", metric("t2i/R@1"), (recall * 0.9,)),
            Reading(step, "", metric("n"), (512.0,)),
        ]
    return Window(step, tuple(readings))


def write_healthy(folder: Path, *, steps: int = 500, status: str | None = "finished") -> None:
    """A run that learns; ``status`` None leaves it running."""
    writer = start(folder, total_steps=steps, name=folder.name)
    for step in range(0, steps, 10):
        loss = 0.6 + (CHANCE - 0.6) * math.exp(-step / 120) + 0.08 * math.sin(step)
        recall = min(0.62, (step / steps) ** 1.5) if step % 50 == 0 else None
        writer.write(window(step, loss=loss, recall=recall))
    if status:
        recalls = {"R@1": 0.58, "R@5": 0.83, "R@10": 0.91}
        result = {"train_loss": 0.61, "val_loss": 0.74, "i2t": recalls, "t2i": recalls, "n": 512}
        writer.finish(status, result | {"chance": {"R@1": 1 / 512, "R@5": 5 / 512, "R@10": 10 / 512}})


def write_collapsed(folder: Path, *, status: str = "failed") -> None:
    writer = start(folder, name=folder.name)
    for step in range(0, 110, 10):
        found = [finding for finding in COLLAPSED if finding.step == step]
        loss = float("nan") if status == "failed" and step > 90 else CHANCE + 0.01 * math.sin(step)
        writer.write(window(step, loss=loss, recall=1 / 512 if step % 50 == 0 else None), found)
    writer.finish(status, {})


def figure_in(change: dict) -> dict:
    """The figure of a place that is drawn anew; its sentence stands beside it."""
    graph, caption = change["children"]["props"]["children"]
    assert caption["props"]["children"].endswith(".")
    return graph["props"]["figure"]
