"""Our own rules, by code."""

from __future__ import annotations

from edgeglass_diag.rules import (
    attention,
    batches,
    dropout,
    embeddings,
    evaluation,
    held_back,
    initial,
    inputs,
    inspection,
    layout,
    learning_rate,
    leftovers,
    loss,
    loss_terms,
    numerics,
    optimisation,
    precision,
    prefixes,
    reach,
    scale,
    stretched,
    telling,
)  # fmt: skip
from edgeglass_diag.rules.base import Rule

CATALOGUE: tuple[type[Rule], ...] = tuple(
    sorted(
        (
            initial.OverwrittenInit, initial.IdenticalRows,
            inspection.QueriesWithoutEffect, inspection.QueriesIdentical, inspection.AttentionSaturated,
            inspection.NotHeldAtFirstStep,
            reach.NotInOptimizer, reach.RandomButFrozen, reach.GradientCutOff, reach.NeverUsed, reach.ZeroGradient,
            attention.AttentionStaysUniform, attention.QueriesAlike,
            telling.AttentionSaturated, telling.AttentionLogitsExplode, telling.MassOnPadding, telling.FullyMasked,
            layout.ReshapeScrambles,
            optimisation.UpdateTooLarge, optimisation.ScheduleOverrun,
            stretched.GradientVanishes, stretched.Diverging, stretched.ForgetsWhatItLearned,
            held_back.NothingMoves, held_back.MovesTooLittle, held_back.ClippedToNothing, held_back.DecayOnScale,
            held_back.WeightsDecay,
            leftovers.GradientsPileUp, leftovers.GradientsCleared, leftovers.AccumulationLost, leftovers.StepsUndone,
            learning_rate.WarmupTooLong, learning_rate.ScheduleEnded, dropout.DropoutTooHigh,
            embeddings.ConstantEmbeddings, embeddings.RankCollapse,
            scale.NormalisationMissing, scale.NormalisedAcrossBatch, scale.ModalityGap, scale.OutputConstant,
            scale.ScaleRunaway, scale.ScaleDecayed,
            loss.LossAtChance, loss.LossBelowPossible, loss.TemperatureMissing,
            loss_terms.BatchOfOne, loss_terms.DoubleSoftmax, loss_terms.LabelsOffDiagonal, loss_terms.PairsPushedApart,
            loss_terms.SigmoidAveraged, loss_terms.TargetsWithGradient, loss_terms.NothingPushedApart,
            batches.RepeatedBatches, batches.Duplicates, batches.PairsDoNotMatch, inputs.ImageRange, inputs.TextsCut,
            inputs.MostlyPadding, inputs.ConstantInput, inputs.InputNotFinite,
            evaluation.RecallExactlyChance, evaluation.RecallsOutOfOrder, evaluation.DirectionsEqual,
            evaluation.RecallBeyondTraining, evaluation.RecallFarBelowTraining, evaluation.MetricNotFinite,
            dropout.DropoutWhereNoneBelongs,
            prefixes.PrefixWithoutWeight, prefixes.NormalisedBeforeSlicing,
            numerics.NonFinite, numerics.GradientsMadeFinite,
            precision.HalfWithoutScaler, precision.StepsSkipped, precision.StepsRoundedAway,
            precision.ClippedWhileScaled,
        ),
        key=lambda rule: rule.code,
    )
)  # fmt: skip
