"""All observers of a watch, and what they need of one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer

from edgeglass_diag.record.activations import ActivationObserver
from edgeglass_diag.record.attention import AttentionObserver
from edgeglass_diag.record.attention_inputs import AttentionInputObserver
from edgeglass_diag.record.attention_layout import AttentionLayout
from edgeglass_diag.record.backward_passes import BackwardPassObserver
from edgeglass_diag.record.backward_state import BackwardState
from edgeglass_diag.record.batches import BatchObserver
from edgeglass_diag.record.broadcasts import BroadcastObserver
from edgeglass_diag.record.clipping import ClippingObserver
from edgeglass_diag.record.comparison_readings import ComparisonReadings
from edgeglass_diag.record.comparisons import ComparisonObserver
from edgeglass_diag.record.coverage import CoverageObserver
from edgeglass_diag.record.dropout import DropoutObserver
from edgeglass_diag.record.embedding_sides import EmbeddingSides
from edgeglass_diag.record.embeddings import EmbeddingObserver
from edgeglass_diag.record.evaluation_observers import EvaluationObservers, make_evaluation_observers
from edgeglass_diag.record.evaluation_passes import EvaluationObserver
from edgeglass_diag.record.frozen_weight_updates import FrozenWeightObserver
from edgeglass_diag.record.given_batches import GivenBatches
from edgeglass_diag.record.linear_maps import LinearMapObserver
from edgeglass_diag.record.log_probabilities import LogProbabilityObserver
from edgeglass_diag.record.loss_origins import LossOriginObserver
from edgeglass_diag.record.loss_passes import LossPasses
from edgeglass_diag.record.loss_readings import LossReadings
from edgeglass_diag.record.losses import LossObserver
from edgeglass_diag.record.masking import MaskObserver
from edgeglass_diag.record.modes import ModeObserver
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.observer import Observer, OptimizerStep
from edgeglass_diag.record.pair_inputs import PairInputObserver
from edgeglass_diag.record.parameter_roles import ParameterRoleObserver
from edgeglass_diag.record.parameters import ParameterObserver
from edgeglass_diag.record.plain_losses import PlainLossObserver
from edgeglass_diag.record.provenance import ProvenanceObserver
from edgeglass_diag.record.rank_contrasts import RankContrastObserver
from edgeglass_diag.record.rank_digests import RankDigestObserver
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.reshape_check import ReshapeObserver
from edgeglass_diag.record.samples import SampleObserver
from edgeglass_diag.record.scaling import LossScaleObserver
from edgeglass_diag.record.sequence_axes import SequenceAxisObserver
from edgeglass_diag.record.sigmoid_losses import SigmoidLossObserver
from edgeglass_diag.record.snapshots import PendingEmbeddings, SnapshotObserver
from edgeglass_diag.record.softmax_axes import SoftmaxAxisObserver
from edgeglass_diag.record.steps_by_hand import StepsByHand
from edgeglass_diag.record.written_losses import WrittenLossObserver


@dataclass(frozen=True)
class Observers:
    """The observers of a watch.

    Attributes:
        all: every observer, in the order in which they have an event; readings do not depend on it.
        provenance: stops at the first step.
        by_hand: follows weights that no optimizer of torch writes to.
        scale: has patches that are to be put in place.
        dropout: tells evaluations with dropout.
        evaluations: tells evaluation passes.
        evaluated: what is observed in them.
        snapshots: hands embeddings on after the window.
        inputs: collects what attention logits are made of, None unless asked for.
    """

    all: tuple[Observer, ...]
    provenance: ProvenanceObserver
    by_hand: StepsByHand
    scale: LossScaleObserver
    dropout: DropoutObserver
    evaluations: EvaluationObserver
    evaluated: EvaluationObservers
    snapshots: SnapshotObserver
    inputs: AttentionInputObserver | None


def make_observers(
    recording: Recording,
    backward: BackwardState,
    *,
    skipped: Callable[[Optimizer], None],
    begin_step: Callable[[OptimizerStep], None],
    attention_logits: int | None,
    embedding_sink: Callable[[PendingEmbeddings], None] | None,
    with_samples: bool,
    with_inputs: bool,
) -> Observers:
    """Return all observers.

    Args:
        recording: state of the watch.
        backward: whether a backward pass is running.
        skipped: called with an optimizer whose step a scaler has skipped.
        begin_step: called as the first weight is written to by hand.
        attention_logits: the most logits measured per attention and call; all where None.
        embedding_sink: takes the embeddings of some pairs at a few steps.
        with_samples: whether pictures and captions of the pairs are kept with them.
        with_inputs: whether what attention logits are made of is collected.
    """
    scale, provenance = LossScaleObserver(recording, skipped), ProvenanceObserver(recording)
    modules, batches = ModuleSiteObserver(recording), BatchObserver(recording)
    sides = EmbeddingSides(recording, modules)
    pair_inputs = PairInputObserver(recording, is_wanted=with_samples and embedding_sink is not None)
    embeddings = EmbeddingObserver(recording, sides, pair_inputs)
    passes = LossPasses(recording, scale)
    readings = LossReadings(recording, embeddings, passes, scale, backward)
    logs = LogProbabilityObserver(recording)
    inputs = AttentionInputObserver(recording) if with_inputs else None
    by_hand = StepsByHand(recording, begin_step)
    snapshots = SnapshotObserver(recording, embeddings, pair_inputs, embedding_sink)
    evaluated = make_evaluation_observers(recording, scale, backward)
    evaluations = EvaluationObserver(recording, evaluated)
    dropout = DropoutObserver(recording, evaluations)
    everything = (
        recording.sources,
        batches,
        SampleObserver(recording, batches),
        modules,
        passes,
        LossObserver(recording, readings),
        logs,
        WrittenLossObserver(recording, readings, logs),
        PlainLossObserver(recording, readings),
        SigmoidLossObserver(recording, readings),
        BroadcastObserver(recording),
        embeddings,
        pair_inputs,
        ComparisonObserver(recording, ComparisonReadings(recording, embeddings, sides, backward)),
        *_attention_observers(recording, modules, inputs, attention_logits),
        dropout,
        ModeObserver(recording),
        evaluations,
        ActivationObserver(recording, embeddings),
        CoverageObserver(recording, modules),
        LinearMapObserver(recording),
        LossOriginObserver(recording, modules),
        ParameterRoleObserver(recording, modules),
        FrozenWeightObserver(recording, provenance),
        BackwardPassObserver(recording, batches),
        RankContrastObserver(recording),
        *_parameter_observers(recording, scale),
        provenance,
        by_hand,
        scale,
        snapshots,
    )
    return Observers(everything, provenance, by_hand, scale, dropout, evaluations, evaluated, snapshots, inputs)


def _attention_observers(
    recording: Recording, modules: ModuleSiteObserver, inputs: AttentionInputObserver | None, logits: int | None
) -> tuple[Observer, ...]:
    layout = AttentionLayout(recording.stack, logits)
    masks = MaskObserver(recording, layout)
    attention = AttentionObserver(recording, layout, modules, masks, inputs)
    first = () if inputs is None else (inputs,)
    batches = GivenBatches(recording)
    axes = batches, SoftmaxAxisObserver(recording, batches), SequenceAxisObserver(recording, batches)
    return (*first, masks, attention, ReshapeObserver(recording), *axes)


def _parameter_observers(recording: Recording, scale: LossScaleObserver) -> tuple[Observer, ...]:
    clips = ClippingObserver(recording)
    return clips, ParameterObserver(recording, clips, scale), RankDigestObserver(recording)
