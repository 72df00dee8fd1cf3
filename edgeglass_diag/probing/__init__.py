"""Probes: what should matter to the loss must change it, what should not must not; tried on copies of the process."""
