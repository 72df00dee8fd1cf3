"""Whether a site is observed, and why not."""

from __future__ import annotations

from enum import StrEnum


class Coverage(StrEnum):
    """Whether a site is observed, and why not. The sentences stand in ``edgeglass_diag.render.coverage``."""

    OBSERVED = "observed"
    FROZEN = "frozen"
    NOT_CALLED = "not_called"
    NOT_HELD = "not_held"
    NOT_HELD_WITH_GRADIENT = "not_held_with_gradient"
    HELD_WITHOUT_GRADIENT = "held_without_gradient"
    HELD_FROZEN = "held_frozen"
    GRADIENT_TAKEN_AWAY = "gradient_taken_away"
    COMPILED = "compiled"
    COMPILED_ATTENTION = "compiled_attention"
    KERNEL_WITHOUT_GRADIENTS = "kernel_without_gradients"
    KERNEL_COMPILED = "kernel_compiled"
    NESTED_TENSOR = "nested_tensor"
    FOREIGN_TENSOR = "foreign_tensor"
    NOT_CONTRASTIVE = "not_contrastive"
    UNKNOWN_LOSS = "unknown_loss"
    TOO_MANY_FORWARDS = "too_many_forwards"
    TOO_DEEP = "too_deep"
    OTHER_THREAD_TRAINS = "other_thread_trains"
    NO_OPTIMIZER = "no_optimizer"
    STEPS_BY_HAND = "steps_by_hand"
    RECORDER_FAILED = "recorder_failed"
    NOT_PROBED = "not_probed"
    OTHER = "other"
