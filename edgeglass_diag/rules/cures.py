"""Changes that several rules nominate, with where their values come from."""

from __future__ import annotations

from edgeglass_diag.intervention import AT_FINDING, Intervention

WARMED_UP = Intervention("optimizer.warmup", 20)
"""A third of the shortest replay, 60 steps, so that two thirds of it run at the full rate."""

SLOWER = (
    Intervention("optimizer.lr", 0.1),
    Intervention("optimizer.lr", 0.01),
    Intervention("optimizer.lr", 0.001),
    WARMED_UP,
)
"""Of a training that takes steps which are too large: a tenth, for what is far off a hundredth, a gentle start.

A thousandth lies between a rate that is usual with SGD, 0.1, and one that is usual with Adam, 1e-4.
"""

CALMER = (Intervention("optimizer.lr", 0.1), Intervention("optimizer.clip", 1), WARMED_UP)
"""Of one whose steps are too large now and then; norm 1 is the usual bound of clipping."""

EITHER_RATE = (Intervention("optimizer.lr", 0.1), Intervention("optimizer.lr", 10))
"""Of one that learns nothing at its rate, be it too high or too low."""

ABOVE_EPS = Intervention("optimizer.eps", 1e-15)
"""Of gradients that drown in Adam's eps of 1e-8: far below them, and above 1e-19, whose square float32 still keeps."""

EPS_OF_FLOAT16 = Intervention("optimizer.eps", 1e-4)
"""An eps that float16 keeps, with 10 bits: its smallest normal number is 6e-5."""

INCLUDED = (Intervention("optimizer.include", site=AT_FINDING), Intervention("optimizer.include"))
"""What is said of one tower may hold for others, each with a finding of its own."""

MASK_TURNED_ROUND = (
    Intervention("attention.mask_inverted"),
    Intervention("attention.mask_inverted", site=AT_FINDING),
)
"""A mask is made once and goes into all layers; where others have a mask that is right, the one place alone."""
