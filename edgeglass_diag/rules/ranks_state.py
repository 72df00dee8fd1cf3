"""Rules on what ranks hold: weights, gradients, the state and settings of optimizers, buffers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.ranks import REPLICAS, RankRule, are_replicas, lasting
from edgeglass_diag.rules.ranks_history import ByRank, RankHistory, named, odd_ranks, said
from edgeglass_diag.rules.ranks_join import behind_join, joins
from edgeglass_diag.signals.parameters import (
    GRADIENT_NORM,
    OPTIMIZER_BETA1,
    OPTIMIZER_BETA2,
    OPTIMIZER_EPS,
    OPTIMIZER_LOSS_SCALE,
    OPTIMIZER_LR,
    OPTIMIZER_MOMENTUM,
    OPTIMIZER_WEIGHT_DECAY,
)
from edgeglass_diag.signals.ranks import (
    BUFFER_DIGEST,
    GRADIENTS_AVERAGED,
    GRADIENTS_JOINED,
    STATE_DIGEST,
    STATE_HELD,
    WEIGHT_DIGEST,
)
from edgeglass_diag.signals.signal import Signal

_DEFINITION = "definition: replicas of one model take the same steps"


@dataclass(frozen=True)
class WeightsDiffer(RankRule):
    """The ranks of one training hold different weights.

    Why: gradients that are averaged over different models belong to none of them. What is saved is the model of one
    rank, and what is evaluated may be that of another.

    Formula: hashes of the bits of all weights, of frozen ones those in DistributedDataParallel, differ in each of the
    last ``windows`` steps that can be compared, or in the last two where gradients are the same on all ranks at each
    such step, as averaged ones are, and the ranks are replicas: DistributedDataParallel averages their gradients, or
    weights or gradients were equal once. Weights that were different and came together again, as those of ranks that
    average only now and then, are silent; so are shards. A warning of ranks that have taken another number of steps
    inside of torch's ``Join``, which broadcasts the weights at its end.
    """

    windows: int = 4

    code = "EG820"
    name = "ranks-weights-differ"
    title = "Weights differ between ranks"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (WEIGHT_DIGEST, GRADIENT_NORM)
    source = f"{_DEFINITION}; pytorch/pytorch#128949"
    fix = (
        "Wrap the model with DistributedDataParallel, call the wrapper and not its module, load a checkpoint on every "
        "rank, and let every rank take every step."
    )
    faulty = "loss = ddp.module(x).mean()   # the wrapper is bypassed: gradients are not averaged"
    healthy = "loss = ddp(x).mean()"
    brought_by = ("EG833", "EG822", "EG823", "EG821")
    read_of_all = REPLICAS

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for all parameters."""
        steps = ranks.at(WEIGHT_DIGEST)
        state = lasting(steps, self.windows if self._are_own(ranks, steps) else 2)
        if state is None or not are_replicas(ranks):
            return
        since, odd = state
        if next(step for step, values in steps.items() if odd_ranks(values)) < since:
            return
        sites = _differing(ranks, WEIGHT_DIGEST, since)
        if sites:
            begin = "from the beginning" if since == min(steps) else f"since step {since}"
            detail = f"{_apart(odd, ranks)} {begin} in {_counted(sites)}"
            severity = Severity.WARNING if joins(ranks) and set(odd) <= ranks.realigned | {min(ranks.ranks)} else None
            detail += ", until Join brings them together" if severity else ""
            yield self.found(
                since, detail, ranks=odd, site=sites[0], sites=sites, severity=severity, parameters=len(sites)
            )

    @staticmethod
    def _are_own(ranks: RankHistory, steps: Mapping[int, ByRank]) -> bool:
        """Return whether gradients were not the same on all ranks at some step with different weights."""
        norms = ranks.at(GRADIENT_NORM)
        apart = (step for step, values in steps.items() if odd_ranks(values))
        return any(step not in norms or odd_ranks(norms[step], tolerance=1e-6) for step in apart)


@dataclass(frozen=True)
class GradientsDiffer(RankRule):
    """DistributedDataParallel was to average gradients, and the ranks step with different ones.

    Why: the reducer averages a bucket when all of its parameters have a gradient. Where one is unused and this was not
    declared, or the wrapper is bypassed in a part of the loss, the gradients of a rank stay its own, and from this step
    on its model is another one.

    Formula: the last forward pass of the step went through the wrapper outside of ``no_sync``, and norms of gradients
    differ by more than ``tolerance`` between ranks for at least one parameter.
    """

    tolerance: float = 1e-3

    code = "EG821"
    name = "ranks-gradients-differ"
    title = "Gradients are not averaged over ranks"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (GRADIENT_NORM, GRADIENTS_AVERAGED)
    source = "definition: all-reduce gives every rank the same bits; pytorch/pytorch#128949"
    fix = "Use every parameter in the loss, or pass find_unused_parameters=True; call the wrapper, never its module."
    faulty = "DistributedDataParallel(model)   # of which a layer is never used"
    healthy = "DistributedDataParallel(model, find_unused_parameters=True)"
    brought_by = ("EG833", "EG823")
    read_of_all = (GRADIENT_NORM, GRADIENTS_AVERAGED)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for all parameters, at the first step."""
        averaged = ranks.at(GRADIENTS_AVERAGED)
        for step, values in ranks.at(GRADIENT_NORM).items():
            if set(averaged.get(step, {0: 0.0}).values()) != {1.0} or not odd_ranks(values, tolerance=self.tolerance):
                continue
            norms = ranks.details(GRADIENT_NORM, step)
            several = {site: found for site, found in norms.items() if len(found) > 1}
            sites = [site for site, found in several.items() if odd_ranks(found, tolerance=self.tolerance)]
            if sites and not ranks.sharded:
                odd = odd_ranks(several[sites[0]], tolerance=self.tolerance)
                detail = f"at step {step} norms differ in {_counted(sites)} ({said(several[sites[0]])})"
                yield self.found(step, detail, ranks=odd, site=sites[0], sites=sites)
            return


@dataclass(frozen=True)
class StateDiffers(RankRule):
    """Ranks with the same weights hold different optimizer states.

    Why: with other moments the same gradient makes another step, and the ranks part. It is so where a checkpoint of the
    optimizer is loaded on one rank alone: DistributedDataParallel broadcasts weights, not what optimizers keep.

    Formula: at the first compared step the optimizers of some ranks keep something of their parameters and those of
    others nothing, and do so later; or hashes of the state of a parameter that two ranks keep differ at a step until
    which the hashes of all weights agree. Ranks that keep the state of different parameters
    (ZeroRedundancyOptimizer) are silent. Inside of torch's ``Join``, a warning: a rank goes on that has taken fewer
    steps than another, and its optimizer keeps something. ``Join`` broadcasts the weights at its end, and not what
    optimizers keep: the moments of that rank lack these steps, and its weights are others until the next end.
    """

    code = "EG822"
    name = "ranks-optimizer-state-differs"
    title = "Optimizer state differs between ranks"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (STATE_DIGEST, STATE_HELD)
    source = f"{_DEFINITION}; vllm-project/speculators#926 (only rank 0 loads the checkpoint)"
    fix = "Load the optimizer's checkpoint on every rank."
    faulty = "if rank == 0: optimizer.load_state_dict(checkpoint['optimizer'])"
    healthy = "optimizer.load_state_dict(torch.load(path, map_location=device)['optimizer'])   # on every rank"
    brought_by = ("EG833", "EG821")
    read_of_all = (STATE_DIGEST, STATE_HELD, WEIGHT_DIGEST, GRADIENTS_JOINED)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding."""
        behind = behind_join(ranks)
        if behind is not None:
            yield replace(
                self.found(behind.since, behind.words, ranks=behind.odd, severity=Severity.WARNING, fewer=behind.fewer),
                fix=behind.fix,
            )
            return
        begun = _without_state(ranks)
        if begun is not None:
            step, without, values = begun
            word = "begins" if len(without) == 1 else "begin"
            detail = f"{named(without)} {word} without any at step {step} ({said(values, 'g')} parameters)"
            yield self.found(step, detail, ranks=without, held=dict(values))
            return
        weights = ranks.at(WEIGHT_DIGEST)
        apart = next((step for step, values in weights.items() if odd_ranks(values)), math.inf)
        for step, values in ranks.at(STATE_DIGEST).items():
            if odd_ranks(values) and step in weights and step < apart:
                sites = _differing(ranks, STATE_DIGEST, step)
                if sites:
                    odd = odd_ranks(values)
                    detail = f"{_apart(odd, ranks)} at step {step} in {_counted(sites)}, with equal weights"
                    yield self.found(step, detail, ranks=odd, site=sites[0], sites=sites)
                return


@dataclass(frozen=True)
class SettingsDiffer(RankRule):
    """Optimizers of replicas step with different settings: learning rate, decay, momentum, or the loss scale.

    Why: the same gradient makes another step, and the ranks part. It is so where one rank alone steps a scheduler, or
    scales its rate by something that it counts itself.

    Formula: a setting of a parameter group differs by more than ``tolerance`` in each of the last ``windows`` compared
    steps.
    """

    windows: int = 2
    tolerance: float = 1e-6

    code = "EG823"
    name = "ranks-settings-differ"
    title = "Optimizer settings differ between ranks"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (OPTIMIZER_LR, OPTIMIZER_WEIGHT_DECAY, OPTIMIZER_LOSS_SCALE)
    source = _DEFINITION
    fix = "Step the scheduler on every rank, and derive the settings from what all ranks know."
    faulty = "if rank == 0: scheduler.step()"
    healthy = "scheduler.step()"
    brought_by = ("EG833",)
    read = (
        OPTIMIZER_LR, OPTIMIZER_WEIGHT_DECAY, OPTIMIZER_MOMENTUM, OPTIMIZER_EPS, OPTIMIZER_BETA1, OPTIMIZER_BETA2,
        OPTIMIZER_LOSS_SCALE,
    )  # fmt: skip
    read_of_all = REPLICAS

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for each group, of the first setting that differs."""
        if not are_replicas(ranks):
            return
        told = set()
        for signal in self.read:
            for site, steps in ranks.of(signal):
                state = lasting(steps, self.windows, tolerance=self.tolerance)
                if state is not None and site not in told:
                    told.add(site)
                    since, odd = state
                    detail = f"{signal.quantity} of {site or 'the scaler'} since step {since} ({said(steps[since])})"
                    yield self.found(since, detail, ranks=odd, site=site, setting=str(signal))


@dataclass(frozen=True)
class BuffersDiffer(RankRule):
    """The ranks of one training hold different buffers, as running statistics of BatchNorm.

    Why: in evaluation each rank has another model, and what is saved has seen the data of one rank alone.

    Formula: hashes of the buffers that the first forward pass of a window meets, behind the broadcast of
    DistributedDataParallel, differ in each of the last ``windows`` compared steps, and the ranks are replicas.
    """

    windows: int = 4

    code = "EG824"
    name = "ranks-buffers-differ"
    title = "Buffers differ between ranks"
    severity = Severity.WARNING
    signals = (BUFFER_DIGEST,)
    source = "definition: replicas of one model hold the same buffers"
    fix = "Leave broadcast_buffers=True, use SyncBatchNorm, or average the running statistics before each evaluation."
    faulty = "DistributedDataParallel(model, broadcast_buffers=False)   # with BatchNorm"
    healthy = "DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(model))"
    brought_by = ("EG833", "EG820")
    read_of_all = (BUFFER_DIGEST, *REPLICAS)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for all modules."""
        state = lasting(ranks.at(BUFFER_DIGEST), self.windows)
        if state is None or not are_replicas(ranks):
            return
        since, odd = state
        sites = _differing(ranks, BUFFER_DIGEST, since)
        if sites:
            detail = f"{_apart(odd, ranks)} since step {since} in {_counted(sites, 'module')}"
            yield self.found(since, detail, ranks=odd, site=sites[0], sites=sites, modules=len(sites))


def _differing(ranks: RankHistory, signal: Signal, step: int) -> list[str]:
    """Return the sites at which ranks that have both recorded a signal differ at a step."""
    return [site for site, values in ranks.details(signal, step).items() if odd_ranks(values)]


def _without_state(ranks: RankHistory) -> tuple[int, list[int], ByRank] | None:
    """Return the first step, which ranks begin it without state and have some later, and the numbers of all."""
    held = ranks.at(STATE_HELD)
    step = next(iter(held), -1)
    values = held.get(step, {})
    without = [rank for rank, number in values.items() if not number]
    if not without or len(without) == len(values):
        return None
    later = any(found.get(rank, 0.0) for found in held.values() for rank in without)
    return (step, without, values) if later else None


def _apart(odd: Sequence[int], ranks: RankHistory) -> str:
    others = [rank for rank in ranks.ranks if rank not in odd]
    return f"{named(odd)} {'differs' if len(odd) == 1 else 'differ'} from {named(others)}"


def _counted(sites: Sequence[str], thing: str = "parameter") -> str:
    return f"{len(sites)} {thing}{'' if len(sites) == 1 else 's'}, as {sites[0] or 'the model itself'}"
