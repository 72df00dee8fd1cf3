"""Profiles of training steps: recorded with torch.profiler and summarised from its trace files."""
