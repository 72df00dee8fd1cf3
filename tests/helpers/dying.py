"""Replays in whose place something else happens; imported by the processes that run them."""

import os

from edgeglass_diag.explanation.outcome import Outcome


def replay(trial, out):
    """End the process, raise, or end well, as the trial is called."""
    if trial.label == "dies":
        os._exit(1)
    if trial.label == "raises":
        raise RuntimeError("no convergence")
    return Outcome(-0.5, steps=trial.steps)
