"""Names the two sides of what a loss compares: the module that each comes from, and what it is made of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import prod

from torch import Tensor

from edgeglass_diag import site_paths
from edgeglass_diag.compared import Compared
from edgeglass_diag.record.comparison import Comparison
from edgeglass_diag.record.module_sites import ModuleSiteObserver
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.sites import EmbeddingSite, Side

_IMAGE_WORDS = ("image", "visual", "vision", "img", "pixel", "picture", "patch")
_TEXT_WORDS = ("text", "txt", "caption", "language", "token", "word", "sentence")
_CONVOLUTIONS = ("Conv2d", "Conv3d")


class EmbeddingSides:
    """Makes the sites of both sides of a comparison.

    Args:
        recording: state of the watch.
        modules: knows which modules feed which.
    """

    def __init__(self, recording: Recording, modules: ModuleSiteObserver) -> None:
        self._recording, self._modules = recording, modules

    def of(self, comparison: Comparison) -> tuple[EmbeddingSite, EmbeddingSite]:
        """Return the sites of the left and the right side."""
        left, right = (self._ancestors(sources) for sources in comparison.sources)
        if comparison.is_of_itself:
            site = self._site(left or right, [], "left", comparison.left, comparison.compared)
            return site, site
        return (
            self._site(left, right, "left", comparison.left, comparison.compared),
            self._site(right, left, "right", comparison.right, comparison.compared),
        )

    def _site(
        self, own: list[str], other: list[str], fallback: str, values: Tensor, compared: Compared
    ) -> EmbeddingSite:
        shared = {site_paths.first_call(site) for site in other}
        alone = [site for site in own if site_paths.first_call(site) not in shared]
        # The projection that a predictor takes is behind both sides, and yet it is where one of them comes from.
        nearest = own[:1] if own[:1] != other[:1] else []
        name = next(iter([*alone, *nearest]), fallback)
        width = prod(values.shape[1:])
        side = self._side(alone or own, len(values))
        path = site_paths.embedding(name, width)
        module = own[0] if own and name == fallback else name
        return EmbeddingSite(path=path, parents=(module,), module=module, width=width, side=side, compared=compared)

    def _side(self, sites: Iterable[str], rows: int) -> Side:
        """Return what the nearest telling site says by its name, or what stands at the beginning."""
        named = [said for site in sites if (said := _said(site)) is not None]
        if named:
            return named[0]
        kinds = {self._recording.sites.class_name(site) for site in sites}
        if not kinds.isdisjoint(_CONVOLUTIONS):
            return Side.IMAGE
        # A table of positions is looked up once for all samples, words for each of them.
        lookups = (self._modules.lookups.get(site, ()) for site in sites)
        return Side.TEXT if any(len(shape) > 2 and shape[0] == rows for shape in lookups) else Side.UNKNOWN

    def _ancestors(self, sources: tuple[str, ...]) -> list[str]:
        """Return the sites behind a tensor, nearest first."""
        found: dict[str, None] = {}
        level = list(reversed(sources))
        while level:
            found |= dict.fromkeys(level)
            level = [p for site in level for p in reversed(self._modules.parents.get(site, ())) if p not in found]
        return list(found)


@lru_cache(maxsize=4096)
def _said(site: str) -> Side | None:
    """Return the side that a path speaks of, None where it speaks of neither or of both."""
    path = site.lower()
    is_image, is_text = (any(word in path for word in words) for words in (_IMAGE_WORDS, _TEXT_WORDS))
    return None if is_image == is_text else Side.IMAGE if is_image else Side.TEXT
