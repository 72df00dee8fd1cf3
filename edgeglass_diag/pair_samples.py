"""What is kept of the pairs behind embeddings, to know them again: small pictures and captions. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

MOST_PAIRS = 256
"""Pairs of a batch that are kept."""
MOST_PIXELS = 64
"""Pixels of a picture's longer side."""
MOST_CHARACTERS = 300
"""Characters of a caption."""


class Wording(StrEnum):
    """Where captions come from."""

    TEXTS = "texts"
    DECODED = "decoded"
    IDS = "ids"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PairSamples:
    """Pictures and captions of the pairs of one step; row i belongs to row i of the step's embeddings.

    Attributes:
        pictures: (pairs, height, width, 1 or 3) uint8; no row where none were kept.
        captions: one for each pair; empty where none were kept.
        wording: where captions come from: strings of the batch, a tokenizer of the program, or the ids themselves.
        note: what was not kept, and why; empty where nothing is missing.
    """

    pictures: NDArray[np.uint8]
    captions: tuple[str, ...]
    wording: Wording = Wording.NONE
    note: str = ""

    @property
    def size(self) -> int:
        """Return the bytes of pictures and captions."""
        return self.pictures.nbytes + sum(len(caption.encode()) for caption in self.captions)

    def of_pairs(self, pairs: int) -> PairSamples:
        """Return the same, without what has another number of rows."""
        pictures = self.pictures if len(self.pictures) == pairs else self.pictures[:0]
        captions = self.captions if len(self.captions) == pairs else ()
        return PairSamples(pictures, captions, self.wording, self.note)


NO_SAMPLES = PairSamples(np.zeros((0, 1, 1, 1), np.uint8), ())
