"""EG833: ranks of one training that do not take the same steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.ranks import REPLICAS, RankRule, are_replicas
from edgeglass_diag.rules.ranks_history import RankHistory, named
from edgeglass_diag.rules.ranks_join import joins
from edgeglass_diag.rules.ranks_lags import lags_of, odd_by_steps, said_of_steps
from edgeglass_diag.signals.parameters import OPTIMIZER_SKIPPED
from edgeglass_diag.signals.ranks import COLLECTIVES, STATE_HELD


@dataclass(frozen=True)
class StepsDiffer(RankRule):
    """A rank leaves out a step that the others take.

    Why: replicas that take different steps are different models from then on, and a schedule that counts steps runs
    ahead on one of them. Of sharded weights a part of the model steps and the rest does not. It is so where each rank
    decides by its own loss or its own gradients whether to step, as a loss scaler does that sees the gradients of one
    rank alone.

    Formula: a loss scaler skips a step on some ranks that the others take; or, in each of the last ``windows`` compared
    steps, the number of collective operations of all ranks together before a rank's step is not that before the others'
    step of the same number, by whole steps, and the weights differ by either way to pair the steps. Ranks that take no
    step at all any more are silent, those inside of torch's ``Join``, of which EG822 tells, those that have the same
    weights again, ranks that step without a collective operation in between, as in local SGD, and shards, of which only
    the loss scaler tells.
    """

    windows: int = 2

    code = "EG833"
    name = "ranks-steps-differ"
    title = "Ranks do not take the same steps"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (COLLECTIVES, OPTIMIZER_SKIPPED)
    source = (
        "definition: replicas of one model take the same steps; ShardedGradScaler of torch.distributed.fsdp reduces "
        "found_inf over all ranks, so that they skip together"
    )
    fix = "Let all ranks decide alike: reduce what decides, as found_inf or the loss, over ranks before the step."
    faulty = "if loss.item() < limit: optimizer.step()   # by the loss of this rank"
    healthy = "dist.all_reduce(loss); if loss.item() < limit: optimizer.step()"
    read_of_all = (OPTIMIZER_SKIPPED, STATE_HELD, *REPLICAS)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding, of the rank that leaves out steps."""
        if not ranks.sharded and not are_replicas(ranks):
            return
        skipped = _skipped(ranks)
        if skipped is not None:
            step, odd = skipped
            detail = f"a loss scaler skips step {step} on {named(odd)} alone"
            yield self.found(step, detail, ranks=odd)
            return
        apart = lags_of(ranks) if not joins(ranks) else {}
        lags = {
            rank: state
            for rank, state in apart.items()
            if state.windows >= self.windows and ranks.weights_agree(rank, state.since) is not True
        }
        if lags:
            odd, behind = odd_by_steps(ranks, lags)
            since = min(state.since for state in lags.values())
            detail = f"since step {since} {said_of_steps(behind)}, by the collective operations that all take part in"
            yield self.found(since, detail, ranks=odd, fewer=behind)


def _skipped(ranks: RankHistory) -> tuple[int, list[int]] | None:
    """Return the first step that a scaler has skipped on some ranks while others took it, and on which."""
    held = ranks.alone(STATE_HELD)
    for step, values in ranks.alone(OPTIMIZER_SKIPPED).items():
        took = [rank for rank in held.get(step, {}) if rank not in values]
        if took:
            return step, sorted(values)
    return None
