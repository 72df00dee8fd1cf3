"""What a loss asks of the model, and at which function it is seen."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """What a loss asks of the model.

    Attributes:
        CONTRASTIVE: to find the partner of each sample among the samples of a batch.
        CLASSIFICATION: to name the class of each sample.
        MATCHING: to say of two samples whether they belong together.
        GENERATION: to name the token at each position of a sequence.
        REGRESSION: to give numbers.
        DISTILLATION: to give what another model gives.
    """

    CONTRASTIVE = "contrastive"
    CLASSIFICATION = "classification"
    MATCHING = "matching"
    GENERATION = "generation"
    REGRESSION = "regression"
    DISTILLATION = "distillation"
    UNKNOWN = "unknown"


class LossFunction(StrEnum):
    """The function at which a loss is seen."""

    CROSS_ENTROPY = "cross_entropy"
    NLL_LOSS = "nll_loss"
    KL_DIV = "kl_div"
    MSE_LOSS = "mse_loss"
    L1_LOSS = "l1_loss"
    SMOOTH_L1_LOSS = "smooth_l1_loss"
    HUBER_LOSS = "huber_loss"
    LOGSUMEXP = "logsumexp"
    LOG_SOFTMAX = "log_softmax"
    EXP = "exp"
    LOGSIGMOID = "logsigmoid"
    SOFTPLUS = "softplus"
    BINARY_CROSS_ENTROPY = "binary_cross_entropy"
    UNKNOWN = "unknown"
