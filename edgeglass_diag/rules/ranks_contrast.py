"""Rules on the losses of ranks: gathers, negatives, labels and weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.ranks import REPLICAS, RankRule, are_replicas, lasting
from edgeglass_diag.rules.ranks_data import is_weighted, usual_values
from edgeglass_diag.rules.ranks_history import ByRank, RankHistory, named, odd_ranks, said
from edgeglass_diag.signals.batches import DATA_SAMPLES
from edgeglass_diag.signals.losses import LOSS_WEIGHT
from edgeglass_diag.signals.ranks import (
    CONTRAST_CANDIDATES,
    CONTRAST_DIGEST,
    CONTRAST_LABEL,
    CONTRAST_LEARNING,
    CONTRAST_ROWS,
)


@dataclass(frozen=True)
class LossWeightDiffers(RankRule):
    """A loss function weighs more on one rank than on another.

    Why: the average over ranks of differently scaled gradients prefers the samples of some ranks. It is so where a rank
    divides by a number of its own, or by the world size where others do not.

    Formula: the weight of a loss function, read off the gradient that reaches it, stays within ``tolerance`` on each
    rank over at least ``windows`` compared steps, and differs by more between ranks. Weights in proportion to the
    samples of the ranks are silent, and so are those that change with the batch.
    """

    windows: int = 4
    tolerance: float = 0.01

    code = "EG829"
    name = "ranks-loss-weight-differs"
    title = "Loss scaled differently on the ranks"
    severity = Severity.WARNING
    signals = (LOSS_WEIGHT,)
    source = "definition: DistributedDataParallel averages gradients with equal weights"
    fix = "Scale the loss by the same factor on every rank: the wrapper divides by the number of ranks already."
    faulty = "loss = loss / world_size if rank else loss"
    healthy = "loss.backward()   # averaged by DistributedDataParallel"
    read = (LOSS_WEIGHT, DATA_SAMPLES)
    read_of_all = REPLICAS

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for each loss function."""
        if not are_replicas(ranks):
            return
        samples = [usual_values(steps, self.windows) for _, steps in ranks.of(DATA_SAMPLES)]
        if any(len(usual) > 1 and odd_ranks(usual) and is_weighted(ranks, usual, self.windows) for usual in samples):
            return
        for site, steps in ranks.of(LOSS_WEIGHT):
            weights = self._steady(steps)
            odd = odd_ranks(weights, tolerance=self.tolerance) if len(weights) > 1 else []
            if odd:
                detail = f"{site or 'the loss'} has another weight on {named(odd)} ({said(weights)})"
                yield self.found(min(steps), detail, ranks=odd, site=site, weights=weights)

    def _steady(self, steps: Mapping[int, ByRank]) -> dict[int, float]:
        """Return the weight of each rank on which it does not change."""
        found = {}
        for rank in sorted({rank for values in steps.values() for rank in values}):
            own = [values[rank] for values in steps.values() if rank in values]
            if len(own) >= self.windows and max(own) - min(own) <= self.tolerance * abs(own[-1]):
                found[rank] = own[-1]
        return found


@dataclass(frozen=True)
class GatherWithoutGradient(RankRule):
    """A rank's rows are compared with gathered candidates into which no gradient flows.

    Why: each rank has the rows of its own samples alone, so that an embedding gets a gradient as the row it is, and as
    candidate of the other ranks' rows none: a part of the gradient of the contrast over all ranks is missing.

    Formula: candidates are world size x rows, the own rows are known to be among them, and a gradient flows into less
    than all of them, in ``windows`` compared steps. Candidates of another model, as of a momentum encoder, and losses
    that every rank computes in full are silent.
    """

    windows: int = 2

    code = "EG830"
    name = "gather-without-gradient"
    title = "Gathered candidates carry no gradient"
    severity = Severity.CRITICAL
    page = "embeddings"
    signals = (CONTRAST_LEARNING,)
    source = "derived: the gradient of the contrast over all ranks has a part of each candidate"
    fix = "Gather with torch.distributed.nn.functional.all_gather, which carries gradients, or compute all rows."
    faulty = "dist.all_gather(parts, text); logits = image @ torch.cat(parts).T"
    healthy = "parts = torch.distributed.nn.functional.all_gather(text); logits = image @ torch.cat(parts).T"
    read_of_all = (CONTRAST_LEARNING, CONTRAST_ROWS, CONTRAST_CANDIDATES)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for all ranks on which it is so."""
        steps = ranks.at(CONTRAST_LEARNING)
        few = {
            rank: own[-1]
            for rank in ranks.ranks
            if len(own := ranks.of_rank(CONTRAST_LEARNING, "", rank)) >= self.windows
            and all(share < 1 for share in own)
        }
        if few:
            detail = f"a gradient flows into {said(few, '.0%')} of the candidates"
            yield self.found(min(steps), detail, ranks=sorted(few), shares=few)


@dataclass(frozen=True)
class LabelsWithoutOffset(RankRule):
    """Ranks with the same gathered candidates call the same columns right.

    Why: the candidates of rank r begin at column r x batch. Labels 0 to batch - 1 are right on rank 0 alone; on the
    others every row is drawn to a stranger of rank 0 and pushed away from its partner.

    Formula: in ``windows`` compared steps the candidates of the ranks are the same in the same order, more than their
    rows, and the right column less the row is the same number on several ranks.
    """

    windows: int = 2

    code = "EG831"
    name = "labels-without-offset"
    title = "Labels lack the offset of the rank"
    severity = Severity.CRITICAL
    page = "embeddings"
    signals = (CONTRAST_LABEL, CONTRAST_DIGEST)
    source = "definition: gathered candidates stand in the order of the ranks; lightly-ai/lightly#1177"
    fix = "Use labels = torch.arange(batch) + rank * batch."
    faulty = "labels = torch.arange(batch)   # against the candidates of all ranks"
    healthy = "labels = torch.arange(batch) + rank * batch"
    read_of_all = (CONTRAST_LABEL, CONTRAST_DIGEST, CONTRAST_ROWS, CONTRAST_CANDIDATES)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding that names the ranks with another's labels."""
        digests, rows = ranks.at(CONTRAST_DIGEST), ranks.at(CONTRAST_ROWS)
        candidates = ranks.at(CONTRAST_CANDIDATES)
        faulty: list[tuple[int, ByRank, list[int]]] = []
        for step, offsets in ranks.at(CONTRAST_LABEL).items():
            if step not in rows or step not in candidates or odd_ranks(digests.get(step, {0: 0.0, 1: 1.0})):
                continue
            if any(candidates[step].get(r, 0) <= rows[step].get(r, math.inf) for r in offsets):
                continue
            if any(math.isnan(offset) for offset in offsets.values()) or len(set(offsets.values())) == len(offsets):
                continue
            wrong = [rank for rank, offset in offsets.items() if offset != rank * rows[step][rank]]
            faulty.append((step, offsets, wrong or sorted(offsets)))
        if len(faulty) >= self.windows:
            step, offsets, wrong = faulty[0]
            detail = f"{named(wrong)} since step {step} (right column less row: {said(offsets, 'g')})"
            yield self.found(step, detail, ranks=wrong, offsets=dict(offsets))


@dataclass(frozen=True)
class NegativesOfOneRank(RankRule):
    """A contrast has the samples of one rank as candidates, although several ranks train together.

    Why: the loss tells a pair from batch - 1 others, not from world size x batch - 1, and its chance level is
    ln(batch). More ranks do not make the task harder, and results are not those of the global batch. That is a choice
    where it is meant so; nothing in a record tells what was meant.

    Formula: in ``windows`` compared steps candidates are as many as rows and differ between the ranks: a fact. A
    warning where other contrasts of the same step have gathered candidates.
    """

    windows: int = 4

    code = "EG832"
    name = "negatives-of-one-rank"
    title = "Negatives come from one rank alone"
    severity = Severity.INFO
    page = "embeddings"
    signals = (CONTRAST_CANDIDATES, CONTRAST_DIGEST)
    source = "definition; CLIP (https://arxiv.org/abs/2103.00020) compares with the whole global batch"
    fix = "Gather the embeddings of all ranks with gradients before the logits, where the global batch is meant."
    faulty = "logits = image @ text.T   # of this rank alone"
    healthy = "logits = image @ torch.cat(all_gather(text)).T"
    read_of_all = (CONTRAST_DIGEST, CONTRAST_ROWS, CONTRAST_CANDIDATES)

    def compare(self, ranks: RankHistory) -> Iterator[Finding]:
        """Return one finding for all ranks."""
        state = lasting(ranks.at(CONTRAST_DIGEST), self.windows)
        rows, candidates = ranks.at(CONTRAST_ROWS), ranks.at(CONTRAST_CANDIDATES)
        if state is None or not rows or not candidates:
            return
        since, _ = state
        newest = max(candidates)
        ratios = {rank: number / rows[newest][rank] for rank, number in candidates[newest].items()}
        if min(ratios.values()) >= len(ratios):
            return
        is_mixed = any(ratio > 1 for ratio in ratios.values())
        what = "one direction is gathered and the other not; " if is_mixed else ""
        detail = f"{what}{named(ratios)} compare rows with own samples ({said(rows[newest], 'g')} rows)"
        severity = Severity.WARNING if is_mixed else self.severity
        yield self.found(since, detail, ranks=sorted(ratios), severity=severity)
