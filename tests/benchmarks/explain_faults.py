"""Does ``explain`` name the cause? Faults of the bench, each among innocent changes, two seeds.

    python tests/benchmarks/explain_faults.py            # a table in Markdown, some minutes on two cores
    python tests/benchmarks/explain_faults.py double-softmax

The failing settings are a fault and two healthy variants of the bench, the healthy settings have none of the three. A
fault is named if it is among the causes; a result is clean if no healthy variant is.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import torch

FAULTS = (
    "captions-mispaired", "captions-drawn-anew", "one-image-for-all", "image-ignored", "labels-permuted",
    "labels-all-zero", "double-softmax", "temperature-missing", "negated-logits", "rate-far-too-large", "rate-of-zero",
    "warmup-longer-than-the-run", "gradient-multiplied-to-nothing", "optimizer-of-another-model", "enormous-init",
)  # fmt: skip
INNOCENT = ("dropout", "everything-in-one-group")
STEPS, SEEDS = 60, (0, 1)


def build(settings: Mapping[str, Any]) -> tuple[Any, Any, Callable[[], None]]:
    """The bench's training with the cases that are switched on."""
    from edgeglass_models.faults.catalogue import all_cases
    from edgeglass_models.faults.training import Setup

    setup = Setup(seed=torch.initial_seed())
    for case in all_cases():
        if settings.get(case.name):
            case.change(setup)
    model = setup.build(setup)
    for alter in setup.alter:
        alter(model)
    optimizer = setup.optimizer(model, setup)
    peaks = [group["lr"] for group in optimizer.param_groups]
    count = iter(range(setup.steps))

    def step() -> None:
        now = next(count)
        model.train()
        for change in setup.each_step:
            change(model, now)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * setup.schedule(setup, now)
        setup.update(model, optimizer, setup, now)

    return model, optimizer, step


def examine(fault: str) -> tuple[str, dict[str, Any]]:
    """What ``explain`` says of one fault."""
    from edgeglass_diag.explanation.of_functions import explain_build

    torch.set_num_threads(1)
    names = (fault, *INNOCENT)
    with tempfile.TemporaryDirectory() as folder:
        failing, healthy = dict.fromkeys(names, True), dict.fromkeys(names, False)
        return fault, explain_build(
            build, failing=failing, healthy=healthy, out=folder, steps=STEPS, seeds=SEEDS
        ).as_dict()


def main() -> None:
    faults = sys.argv[1:] or FAULTS
    print("| fault | causes | cured, broken | clean |\n| --- | --- | --- | --- |")
    named = clean = 0
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for fault, result in pool.imap(examine, faults):
            causes = {row["setting"]: row for row in result["causes"]}
            row = causes.get(fault, {})
            alone = set(causes) == {fault}
            named, clean = named + (fault in causes), clean + alone
            counts = f"{row.get('cured')}, {row.get('made_ill')}"
            words = ", ".join(causes) or result["verdict"]
            print(f"| {fault} | {words} | {counts} | {'yes' if alone else 'no'} |", flush=True)
    print(f"\n{named} of {len(faults)} named, {clean} of them without an innocent change.")


if __name__ == "__main__":
    main()
