"""Readings of what a loss compares other than by logits."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn.functional import normalize

from edgeglass_diag import site_paths
from edgeglass_diag.compared import Compared
from edgeglass_diag.measures.assignments import predicted_information
from edgeglass_diag.measures.geometry import distance_ratio, spread
from edgeglass_diag.record.backward_state import BackwardState
from edgeglass_diag.record.comparison import Comparison
from edgeglass_diag.record.embedding_sides import EmbeddingSides
from edgeglass_diag.record.embeddings import EmbeddingObserver
from edgeglass_diag.record.partner_pull import PartnerPull
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.side_readings import SideReadings
from edgeglass_diag.signals.embeddings import EMBEDDING_DISTANCE, EMBEDDING_PREDICTED, EMBEDDING_VARIATION
from edgeglass_diag.sites import EmbeddingSite, PairSite


class ComparisonReadings:
    """Writes ``embedding/*`` of comparisons whose result a loss takes, once for each pair of sides in a window.

    Args:
        recording: state of the watch.
        embeddings: measures those whose products are logits.
        sides: names them.
        backward: whether a backward pass is running.
    """

    def __init__(
        self, recording: Recording, embeddings: EmbeddingObserver, sides: EmbeddingSides, backward: BackwardState
    ) -> None:
        self._recording, self._embeddings, self._sides = recording, embeddings, sides
        self._readings = SideReadings(recording)
        self._pull = PartnerPull(recording, backward)
        self._pairs: set[frozenset[str]] = set()
        self._measured: set[str] = set()

    def forget(self) -> None:
        """Begin anew with the next window."""
        self._pull.forget()
        self._pairs.clear()
        self._measured.clear()

    def follow(self, result: Tensor, comparison: Comparison) -> None:
        """Read off the gradient that reaches the result of a comparison whether partners are drawn together."""
        self._pull.follow(result, comparison)

    def measure(self, comparison: Comparison) -> None:
        """Write the readings of both sides and of the pair."""
        if self._embeddings.is_measured(comparison):
            return
        given = comparison
        if comparison.compared is Compared.LOGITS:
            comparison = replace(comparison, compared=Compared.SIMILARITY)
        sides = self._sides.of(comparison)
        names = (sides[0].path, sides[1].path)
        if frozenset(names) in self._pairs:
            return
        self._pairs.add(frozenset(names))
        values = comparison.left.float(), comparison.right.float()
        for site, rows in zip(sides, values, strict=True):
            self._side(site, rows, comparison)
        pair = site_paths.pair(*names)
        self._recording.sites.register_site(PairSite(path=pair, parents=names, left=names[0], right=names[1]))
        if comparison.compared is Compared.ASSIGNMENT:
            self._recording.buffer.add(pair, EMBEDDING_PREDICTED, predicted_information(*values))
        else:
            self._pair(pair, sides, values, comparison)
            self._pull.name(given, pair)

    def _side(self, site: EmbeddingSite, rows: Tensor, comparison: Comparison) -> None:
        if site.path in self._measured or site.path in self._embeddings.measured:
            return
        self._measured.add(site.path)
        self._recording.sites.register_site(site)
        if site.compared is Compared.ASSIGNMENT:
            self._readings.of_assignments(site.path, rows)
            return
        self._readings.of_rows(site.path, rows)
        self._readings.margin(site.path, comparison.margin)
        if len(self._measured) <= 2:
            self._readings.rank(site.path, rows)

    def _pair(
        self, path: str, sides: tuple[EmbeddingSite, EmbeddingSite], values: tuple[Tensor, Tensor], given: Comparison
    ) -> None:
        left, right = (normalize(rows, dim=-1) for rows in values) if given.is_of_cosines else values
        if given.learns[0] != given.learns[1]:
            target, output = (0, 1) if given.learns[1] else (1, 0)
            spreads = spread((left, right)[output]), spread((left, right)[target])
            self._recording.buffer.add(path, EMBEDDING_VARIATION, (spreads[0] / spreads[1]).square())
            if given.compared is Compared.DISTANCE:
                self._readings.excess(sides[output].path, given.ranges[output], values[target])
        is_covariance = given.compared is Compared.FEATURES and given.is_of_itself
        if given.is_paired and not is_covariance:
            self._recording.buffer.add(path, EMBEDDING_DISTANCE, distance_ratio(left, right))
            if all(given.sources) and given.compared is not Compared.FEATURES:
                self._embeddings.keep(sides, left, right)
        if given.together:
            self._embeddings.pairings.partners(path, given)
