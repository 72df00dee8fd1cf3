"""Profiles of training steps: taken with torch.profiler, and read again from their trace files."""
