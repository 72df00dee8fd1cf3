"""Retrieval in plain NumPy, one query and one item at a time, in double precision."""

import math

import numpy as np

TIE = 2.0**-20


def rankings(queries, gallery, matches):
    """For each query: (distractors better, distractors tied, matches tied) of its best match."""
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (queries, gallery)]
    for query, own in zip(unit[0], matches, strict=True):
        scores = [float(query @ item) for item in unit[1]]
        best = max(scores[j] for j in own)
        others = [score for j, score in enumerate(scores) if j not in own]
        better = sum(score > best + TIE for score in others)
        yield better, sum(abs(score - best) <= TIE for score in others), sum(scores[j] >= best - TIE for j in own)


def recall(placed, k):
    """Share of orders of the tied in which a match is among the first k, by counting the orders."""
    total = 0.0
    for better, rivals, relevant in placed:
        places = max(0, min(k - better, rivals + relevant))
        total += 1 - math.comb(rivals, places) / math.comb(rivals + relevant, places)
    return total / len(placed)


def both_ways(image, text, owner):
    """The rankings of the images that have captions, and of the captions."""
    image, text, owner = (np.asarray(side, dtype=np.float64) for side in (image, text, owner))
    owner = owner.astype(int)
    captions = {i: set(np.flatnonzero(owner == i).tolist()) for i in sorted(set(owner.tolist()))}
    i2t = list(rankings(image[list(captions)], text, list(captions.values())))
    return i2t, list(rankings(text, image, [{i} for i in owner.tolist()]))
