"""Changes that are made to a training from outside, in its own process, by the means that observe it."""
