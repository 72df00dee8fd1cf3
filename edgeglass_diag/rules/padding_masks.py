"""EG523: a mask of padding that belongs to other texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.batches import DATA_MASK_BORROWED, DATA_MASK_HIDDEN, DATA_MASK_MISFIT


@dataclass(frozen=True)
class MaskOfOtherTexts(Rule):
    """The mask hides the padding of other texts: that of one text is used for the whole batch, or rows are mixed up.

    Why: words of longer texts are hidden, and padding of shorter ones is read. A mask that was expanded from one row,
    or was not shuffled, sorted or repeated along with its tokens, is no error to torch.

    Formula: in the last ``windows`` recorded windows in which padding and mask are known, the mask differs by more than
    one token from the padding of at least ``share`` of the texts, and yet it is in all rows the padding of one of the
    batch's texts, or that of its texts in another order. What a mask hides must not be the same in all of them: a fixed
    part, as a prompt's, is meant.
    """

    share: float = 0.1
    windows: int = 4

    code = "EG523"
    name = "mask-of-other-texts"
    title = "Mask does not belong to its texts"
    severity = Severity.WARNING
    page = "coverage"
    signals = (DATA_MASK_MISFIT, DATA_MASK_BORROWED, DATA_MASK_HIDDEN)
    source = "derived: a right mask differs from the padding only where a text ends with the padding's own token"
    fix = "Make the mask of the very tokens it comes with (tokens != pad) after they are shuffled, cut and padded."
    faulty = "mask = (tokens[:1] != PAD).expand_as(tokens)"
    healthy = "mask = tokens != PAD"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per mask."""
        for site, misfits in history.of(DATA_MASK_MISFIT):
            borrowed, hidden = history.series(DATA_MASK_BORROWED, site), history.series(DATA_MASK_HIDDEN, site)
            values = zip(misfits.values, borrowed.values, hidden.values, strict=True)
            recent = [one for one in values if isfinite(one[0])][-self.windows :]
            wrong = all(misfit >= self.share and other == 1 for misfit, other, _ in recent)
            if len(recent) >= self.windows and wrong and len({part for *_, part in recent}) > 1:
                share = sum(misfit for misfit, *_ in recent) / len(recent)
                yield self.finding(
                    history,
                    f"{site} hides the padding of other texts of the batch: it is wrong by more than one token for "
                    f"{share:.0%} of them",
                    site=site,
                    evidence={"misfit": share, "hidden": hidden.last},
                )
