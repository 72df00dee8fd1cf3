"""Logs of ordinary trainings, drawn: healthy and faulty ones, written as trainers and trackers write them.

The curves follow published shapes, not thresholds of the audit: power laws (https://arxiv.org/abs/2001.08361), cosine
restarts (https://arxiv.org/abs/1608.03983), double descent (https://arxiv.org/abs/1912.02292), grokking
(https://arxiv.org/abs/2201.02177), loss spikes that recover (https://arxiv.org/abs/2204.02311), plateaus before a drop
(https://arxiv.org/abs/2310.03020), gradient noise with heavy tails (https://arxiv.org/abs/1901.06053).
"""
