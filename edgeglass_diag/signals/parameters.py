"""Signals of parameters, their gradients and updates, and of optimizers."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Drawing, Palette, Reduction, Signal, Usual
from edgeglass_diag.sites import Kind

_GRADIENT = Drawing(
    "Gradient norm",
    "per parameter, after clipping",
    Palette.SIZE,
    "what reaches each parameter",
    "vanishes below {low:g}, explodes above {high:g}",
    logarithmic=True,
)
_UPDATE = Drawing(
    "Update ratio",
    "|change of w| / |w| in one step",
    Palette.DEVIATION,
    "how much of a weight one optimizer step replaces",
    "usual near 1e-3; healthy from {low:g} to {high:g}",
    logarithmic=True,
    extent=(-7, 1),
)
_WEIGHT = Drawing("Weight norm", "per parameter", Palette.SIZE, "the length of each parameter", logarithmic=True)
_GRADIENT_BOUNDS = Usual(1e-6, 1e6, "TheDeepChecker, https://arxiv.org/abs/2204.00694")
_UPDATE_BOUNDS = Usual(1e-4, 1e-1, "TheDeepChecker, https://arxiv.org/abs/2204.00694")

GRADIENT_NORM = register(
    Signal(
        "gradient/norm",
        Kind.PARAMETER,
        "L2 norm of the gradient as the step takes it; without site over all optimizers, before clipping.",
        low=0,
        drawing=_GRADIENT,
        usual=_GRADIENT_BOUNDS,
    )
)
GRADIENT_NONFINITE = register(
    Signal(
        "gradient/nonfinite",
        Kind.PARAMETER,
        "1 where the gradient has a NaN or infinite entry.",
        low=0,
        reduction=Reduction.SUM,
    )
)
GRADIENT_NORM_CLIPPED = register(
    Signal("gradient/norm_clipped", None, "L2 norm of all gradients of the window's optimizers after clipping.", low=0)
)
GRADIENT_CLIP_FACTOR = register(
    Signal("gradient/clip_factor", None, "Factor by which clipping has scaled the gradients.", low=0)
)
GRADIENT_CLIPPED_SCALED = register(
    Signal(
        "gradient/clipped_scaled",
        None,
        "1 where gradients were clipped while they carried the loss scale.",
        low=0,
        high=1,
    )
)
WEIGHT_NORM = register(Signal("weight/norm", Kind.PARAMETER, "L2 norm of the parameter.", low=0, drawing=_WEIGHT))
WEIGHT_ROW_SIGNAL = register(
    Signal(
        "weight/row_signal",
        Kind.PARAMETER,
        "Share of a matrix's energy in which its rows differ: 0 where all rows are alike.",
        low=0,
        high=1,
    )
)
WEIGHT_WRITTEN = register(
    Signal(
        "weight/written",
        Kind.PARAMETER,
        "1 where a frozen random weight has changed since the first step, as a momentum encoder's does.",
        low=0,
        high=1,
    )
)
UPDATE_RATIO = register(
    Signal(
        "update/ratio",
        Kind.PARAMETER,
        "Norm of the change that a step made over the norm of the parameter.",
        low=0,
        drawing=_UPDATE,
        usual=_UPDATE_BOUNDS,
    )
)
UPDATE_ROUNDED_AWAY = register(
    Signal(
        "update/rounded_away",
        Kind.PARAMETER,
        "Share of entries in half precision that a step should have changed and rounding left.",
        low=0,
        high=1,
        former=("update/unmoved",),
    )
)
UPDATE_REVERTED = register(
    Signal(
        "update/reverted",
        None,
        "Share of the step before that something has taken back since, median over some matrices.",
        former=("update/undone",),
    )
)
GRADIENT_UNCLEARED = register(
    Signal(
        "gradient/uncleared",
        None,
        "Largest gradient that the first backward pass of a step finds: above 0 where none was cleared.",
        low=0,
        former=("gradient/stale",),
    )
)
GRADIENT_CLEARED = register(
    Signal(
        "gradient/cleared",
        None,
        "1 where the gradients of the last backward pass were cleared before the step.",
        low=0,
        high=1,
    )
)
GRADIENT_DROPPED = register(
    Signal(
        "gradient/dropped",
        None,
        "Share of the backward passes of a step whose gradients were cleared before the next.",
        low=0,
        high=1,
    )
)
GRADIENT_MADE_FINITE = register(
    Signal(
        "gradient/made_finite",
        None,
        "1 where a gradient that was not finite was made finite before the step.",
        low=0,
        high=1,
    )
)
GRADIENT_KEPT = register(
    Signal(
        "gradient/kept",
        None,
        "Cosine between the gradient that the last backward pass left and that which the step takes, in some weights.",
        low=-1,
        high=1,
    )
)
OPTIMIZER_LR = register(Signal("optimizer/lr", None, "Learning rate.", low=0))
OPTIMIZER_WEIGHT_DECAY = register(Signal("optimizer/weight_decay", None, "Weight decay.", low=0))
OPTIMIZER_DECOUPLED_WEIGHT_DECAY = register(
    Signal(
        "optimizer/decoupled_weight_decay",
        None,
        "Of Adam and its kin in torch: 1 where weight decay acts on the weights, 0 where it is added to the gradient.",
        low=0,
        high=1,
    )
)
OPTIMIZER_MOMENTUM = register(Signal("optimizer/momentum", None, "Momentum.", low=0))
OPTIMIZER_EPS = register(Signal("optimizer/eps", None, "Term that keeps the denominator from 0.", low=0))
OPTIMIZER_BETA1 = register(Signal("optimizer/beta1", None, "Decay of the first moment.", low=0))
OPTIMIZER_BETA2 = register(Signal("optimizer/beta2", None, "Decay of the second moment.", low=0))
OPTIMIZER_HELD = register(
    Signal("optimizer/held", None, "Tensors that an optimizer holds; without site all of them.", low=0)
)
OPTIMIZER_MOVING = register(
    Signal(
        "optimizer/moving", None, "Tensors with a gradient that an optimizer holds; without site all of them.", low=0
    )
)
OPTIMIZER_ORPHANS = register(
    Signal(
        "optimizer/orphans",
        None,
        "Tensors without gradient that an optimizer holds and no module has, of the optimizer with most.",
        low=0,
        reduction=Reduction.MAX,
    )
)
OPTIMIZER_BEGUN = register(
    Signal(
        "optimizer/begun",
        None,
        "Step at which the training of the optimizer that steps began: other parameters than those of earlier ones.",
        low=0,
        reduction=Reduction.MAX,
        unit="steps",
    )
)
OPTIMIZER_STATE = register(
    Signal(
        "optimizer/state",
        None,
        "Share of some parameters for which the optimizer keeps something other than 0 before it steps; in the first "
        "windows of a process.",
        low=0,
        high=1,
    )
)
OPTIMIZER_STEPS = register(
    Signal(
        "optimizer/steps",
        None,
        "Steps that the optimizer counts before it steps, as Adam does; in the first windows of a process.",
        low=0,
        unit="steps",
    )
)
OPTIMIZER_SKIPPED = register(
    Signal(
        "optimizer/skipped", None, "Steps that a loss scaler has skipped.", low=0, reduction=Reduction.SUM, unit="steps"
    )
)
OPTIMIZER_LOSS_SCALE = register(
    Signal("optimizer/loss_scale", None, "Factor that a loss scaler puts on the loss.", low=0)
)
STANDING_OPTIMIZER = register(
    Signal("standing/optimizer", Kind.PARAMETER, "1 where an optimizer holds it.", low=0, high=1)
)
STANDING_GRADIENT = register(Signal("standing/gradient", Kind.PARAMETER, "Norm of its gradient.", low=0))
MODULE_IN_LOSS = register(
    Signal(
        "module/in_loss",
        Kind.MODULE,
        "Of a module whose own weights get no gradient: 1 where what it gives goes into a loss all the same, else 0.",
        low=0,
        high=1,
        reduction=Reduction.MAX,
    )
)
MODULE_GRADIENTS_OFF = register(
    Signal(
        "module/gradients_off",
        Kind.MODULE,
        "Of a module whose own weights get no gradient: 1 where all its calls ran with gradients switched off, else 0.",
        low=0,
        high=1,
    )
)
