"""Rules on what ranks are given: the data they draw, the size of their batches, statistics of their batches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.ranks import REPLICAS, RankRule, are_replicas
from edgeglass_diag.rules.ranks_history import ByRank, RankHistory, named, odd_ranks, said
from edgeglass_diag.signals.batches import DATA_FINGERPRINT, DATA_MEAN, DATA_SAMPLES
from edgeglass_diag.signals.losses import LOSS_TOTAL, LOSS_WEIGHT
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.signals.ranks import NORM_SAMPLES

_SIDE_INPUTS = ("mask", "position", "length", "step", "time")
"""Names of inputs that may be the same for different samples."""


@dataclass(frozen=True)
class SameData(RankRule):
    """Ranks draw the same samples in the same order.

    Why: their gradients are equal, and the average of equal gradients is one of them: the work of all ranks but one is
    done for nothing, and the batch is smaller than it is taken for.

    Formula: the fingerprints of an input are equal in each of at least ``windows`` compared steps and change from step
    to step. Inputs by whose names different samples may share them (masks, positions, times) do not count, and
    neither does a training with sharded parameters, in which ranks may share their data by design.
    """

    windows: int = 4

    code = "EG825"
    name = "ranks-same-data"
    title = "Ranks draw the same data"
    severity = Severity.WARNING
    signals = (DATA_FINGERPRINT,)
    source = "definition: data parallelism splits the data"
    fix = "Give the loader a DistributedSampler with the rank, call its set_epoch, and seed generators by the rank."
    faulty = "DataLoader(dataset, shuffle=True)   # with one seed on all ranks"
    healthy = "DataLoader(dataset, sampler=DistributedSampler(dataset))"
    read = (DATA_FINGERPRINT,)
    read_of_all = REPLICAS

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding, at the first input."""
        if ranks.sharded or not are_replicas(ranks):
            return
        for site, steps in ranks.of(DATA_FINGERPRINT):
            same = self._same(steps) if not any(word in site.lower() for word in _SIDE_INPUTS) else []
            if same:
                detail = f"{named(same)} are given the same {site} in all of {len(steps)} compared steps"
                yield self.found(min(steps), detail, ranks=same, site=site, steps=len(steps))
                return

    def _same(self, steps: Mapping[int, ByRank]) -> list[int]:
        """Return the ranks that have the same batches at all steps, which change; empty where none have."""
        if len(steps) < self.windows:
            return []
        courses: dict[tuple[float, ...], list[int]] = {}
        for rank in sorted(set.intersection(*(set(values) for values in steps.values()))):
            course = tuple(values[rank] for values in steps.values())
            if len(set(course)) > 1:
                courses.setdefault(course, []).append(rank)
        return max(courses.values(), key=len, default=[]) if any(len(r) > 1 for r in courses.values()) else []


@dataclass(frozen=True)
class UnequalBatches(RankRule):
    """Ranks always have batches of different sizes, and their gradients are averaged as if they were equal.

    Why: the mean over ranks of means over batches gives each sample of a small batch more weight; a contrast has other
    negatives on each rank.

    Formula: each rank has one number of samples in at least 9 of 10 compared steps, ``windows`` at least, and these
    numbers differ. Batches whose size changes, as of samplers by length, are silent, and so are losses that are
    weighted in proportion.
    """

    windows: int = 4

    code = "EG826"
    name = "ranks-unequal-batches"
    title = "Batches of different sizes on the ranks"
    severity = Severity.WARNING
    signals = (DATA_SAMPLES,)
    source = "definition: the mean of means is the mean of all only where their numbers are equal"
    fix = "Give every rank the same batch size, or weigh its loss by world_size x own samples / all samples."
    faulty = "DataLoader(dataset, batch_size=total // world_size + (rank == 0))"
    healthy = "DataLoader(dataset, batch_size=total // world_size)"
    read = (DATA_SAMPLES, LOSS_WEIGHT)
    read_of_all = REPLICAS

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding, at the first input."""
        if ranks.sharded or not are_replicas(ranks):
            return
        for site, steps in ranks.of(DATA_SAMPLES):
            usual = usual_values(steps, self.windows)
            odd = odd_ranks(usual) if len(usual) > 1 else []
            if odd and not is_weighted(ranks, usual, self.windows):
                detail = f"{site} has other numbers of samples on {named(odd)} ({said(usual, 'g')})"
                yield self.found(min(steps), detail, ranks=odd, site=site, samples=dict(usual))
                return


@dataclass(frozen=True)
class OneRankNotFinite(RankRule):
    """On some ranks the loss, an input or the gradients are not finite while they are finite on the others.

    Why: an average with NaN is NaN: one rank's sample ends the training of all. By the next step every rank has it, and
    which one had it first is lost.

    Formula: the first step at which the total loss, an input together with it, or, but for shards, the norm of the
    gradients is NaN or infinite on some ranks alone.
    """

    code = "EG827"
    name = "ranks-one-not-finite"
    title = "Not finite on some ranks alone"
    severity = Severity.CRITICAL
    signals = (LOSS_TOTAL, DATA_MEAN, GRADIENT_NORM)
    source = "definition: sums with NaN are NaN"
    fix = "Look at the samples that this rank was given at this step; check them before they are batched."
    faulty = "loss = nan   # on rank 1 at step 3, a division by an empty mask"
    healthy = "loss = total / mask.sum().clamp(min=1)"
    read = (DATA_MEAN,)
    read_of_all = (LOSS_TOTAL, GRADIENT_NORM)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for the earliest: of one step the input, then the loss, then the gradients."""
        loss = ranks.at(LOSS_TOTAL)
        series = [(f"the input {site}", site, _with_loss(steps, loss)) for site, steps in ranks.of(DATA_MEAN)]
        series.append(("the loss", "", loss))
        if not ranks.sharded:  # of a shard it is the norm of that part
            series.append(("the norm of the gradients", "", ranks.at(GRADIENT_NORM)))
        found = [(_first_odd(steps), order) for order, (_, _, steps) in enumerate(series)]
        known = [(state[0], order, state[1]) for state, order in found if state is not None]
        if known:
            step, order, odd = min(known)
            name, site, steps = series[order]
            detail = f"{name} on {named(odd)} at step {step} ({said(steps[step])})"
            yield self.found(step, detail, ranks=odd, site=site)


@dataclass(frozen=True)
class BatchNormLocal(RankRule):
    """BatchNorm takes its statistics from the few samples of one rank.

    Why: mean and variance of a few samples are noisy, so that what a sample becomes depends on which others its rank
    was given, and running statistics are those of one rank.

    Formula: a BatchNorm in training that is no SyncBatchNorm has fewer than ``samples`` samples on some rank.
    """

    samples: int = 16

    code = "EG828"
    name = "ranks-batchnorm-local"
    title = "BatchNorm is not synchronised"
    severity = Severity.WARNING
    signals = (NORM_SAMPLES,)
    source = (
        "Group Normalization (https://arxiv.org/abs/1803.08494), figure 1: the error rises below 16 samples a device"
    )
    fix = "Convert the model with nn.SyncBatchNorm.convert_sync_batchnorm before it is wrapped, or use GroupNorm."
    faulty = "DistributedDataParallel(nn.Sequential(conv, nn.BatchNorm2d(64)))   # 4 samples a rank"
    healthy = "DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(model))"
    read = (NORM_SAMPLES,)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for all modules."""
        few: dict[str, dict[int, float]] = {}
        begin = math.inf
        for site, steps in ranks.of(NORM_SAMPLES):
            usual = {rank: number for rank, number in usual_values(steps, 2).items() if number < self.samples}
            if usual:
                few[site], begin = usual, min(begin, *steps)
        if few:
            sites = list(few)
            usual = few[sites[0]]
            others = f" and {len(sites) - 1} more" if len(sites) > 1 else ""
            detail = f"{sites[0]}{others} has the samples of its own rank alone ({said(usual, 'g')} samples)"
            yield self.found(int(begin), detail, ranks=sorted(usual), site=sites[0], sites=sites)


def usual_values(steps: Mapping[int, ByRank], windows: int) -> dict[int, float]:
    """Return the value that each rank has in at least 9 of 10 compared steps, ``windows`` at least."""
    found = {}
    for rank in sorted({rank for values in steps.values() for rank in values}):
        own = [values[rank] for values in steps.values() if rank in values]
        value, count = Counter(own).most_common(1)[0]
        if count >= windows and count >= 0.9 * len(own):
            found[rank] = value
    return found


def is_weighted(ranks: RankHistory, samples: ByRank, windows: int) -> bool:
    """Return whether a loss has weights in proportion to the samples of the ranks."""
    for _, steps in ranks.of(LOSS_WEIGHT):
        if len(steps) >= windows:
            newest = steps[max(steps)]
            shares = {rank: weight / samples[rank] for rank, weight in newest.items() if samples.get(rank)}
            if len(shares) > 1 and not odd_ranks(shares, tolerance=0.01):
                return True
    return False


def _with_loss(steps: Mapping[int, ByRank], loss: Mapping[int, ByRank]) -> dict[int, ByRank]:
    """Return the steps at which the loss of some rank is not finite: some models take inputs with NaN."""
    return {s: values for s, values in steps.items() if not all(map(math.isfinite, loss.get(s, {}).values()))}


def _first_odd(steps: Mapping[int, ByRank]) -> tuple[int, list[int]] | None:
    for step, values in steps.items():
        odd = [rank for rank, value in values.items() if not math.isfinite(value)]
        if odd:
            return (step, sorted(odd)) if len(odd) < len(values) else None
    return None
