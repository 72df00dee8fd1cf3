"""The sites of one watch: each once, in the order in which they were first seen, and what is new of them."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from edgeglass_diag.process import error_text
from edgeglass_diag.site_types import SITE_TYPES
from edgeglass_diag.sites import Coverage, Kind, ModuleSite, Site


@dataclass(frozen=True, slots=True)
class _Entry:
    """A site as it was registered last, and as it is known."""

    given: Site | None
    known: Site


class SiteRegistry:
    """Sites by path and kind.

    A site that is registered again keeps its order, and each fact that is not given anew.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Kind], _Entry] = {}
        self._new: dict[tuple[str, Kind], Site] = {}

    def register_site(self, site: Site) -> None:
        """Note that a site is observed; one that could not be before is observed from now on."""
        key = (site.path, site.kind)
        entry = self._entries.get(key)
        if entry is None:
            self._put(key, replace(site, order=len(self._entries)), site)
        elif (entry.given is not site and entry.given != site) or entry.known.coverage not in _LASTING:
            known = _joined(site, entry.known, failed=key in self._new)
            if known == replace(entry.known, coverage=Coverage.OBSERVED, detail="") and _lasts(entry.known):
                self._entries[key] = _Entry(site, entry.known)
            else:
                self._put(key, known, site)

    def cannot_observe(self, site: Site, coverage: Coverage, detail: str = "") -> None:
        """Note why a site is not observed; noted once for each reason."""
        key = (site.path, site.kind)
        entry = self._entries.get(key)
        known = replace(site, order=len(self._entries)) if entry is None else entry.known
        if (known.coverage, known.detail) != (coverage, detail):
            given = None if entry is None else entry.given
            self._put(key, replace(known, coverage=coverage, detail=detail), given)

    def set_facts(self, site: Site, **facts: Any) -> None:
        """Note facts of a site that is known, whether it is observed or not; one that is not known is registered."""
        key = (site.path, site.kind)
        entry = self._entries.get(key)
        if entry is None:
            self.register_site(replace(site, **facts))
        elif (known := replace(entry.known, **facts)) != entry.known:
            self._put(key, known, entry.given)

    def failed(self, error: Exception, path: str, kind: Kind) -> None:
        """Note a failure of the recorder itself."""
        self.cannot_observe(SITE_TYPES[kind](path=path), Coverage.RECORDER_FAILED, error_text(error))

    def has_site(self, path: str, kind: Kind) -> bool:
        """Return whether a site was registered, or noted as one that cannot be observed."""
        return (path, kind) in self._entries

    def is_observed(self, path: str, kind: Kind) -> bool:
        """Return whether a site is observed."""
        return self.coverage(path, kind) is Coverage.OBSERVED

    def coverage(self, path: str, kind: Kind) -> Coverage | None:
        """Return whether a site is observed, or why not; None where it is unknown."""
        entry = self._entries.get((path, kind))
        return None if entry is None else entry.known.coverage

    def class_name(self, path: str) -> str:
        """Return the class of a module that has run, empty where it is unknown."""
        entry = self._entries.get((path, Kind.MODULE))
        return entry.known.class_name if entry is not None and isinstance(entry.known, ModuleSite) else ""

    def known(self, kind: Kind) -> list[Site]:
        """Return the sites of a kind, as they are known, in the order in which they were first seen."""
        return [entry.known for (_, other), entry in self._entries.items() if other is kind]

    @property
    def new(self) -> tuple[Site, ...]:
        """The sites that are new or changed since ``handed_on``."""
        return tuple(self._new.values())

    def handed_on(self) -> None:
        """Begin anew: what is new has been handed on with a window."""
        self._new.clear()

    def _put(self, key: tuple[str, Kind], known: Site, given: Site | None) -> None:
        self._entries[key] = _Entry(given, known)
        self._new[key] = known


_LASTING = (Coverage.OBSERVED, Coverage.RECORDER_FAILED)
"""What a site stays although it is registered again: a failure is not forgotten until something new is known of it."""


def _lasts(site: Site) -> bool:
    return site.coverage in _LASTING


def _joined(site: Site, known: Site, *, failed: bool) -> Site:
    """Return ``site`` as observed, with what is known already where it gives nothing.

    Args:
        site: as it is registered now.
        known: as it was known.
        failed: whether a failure of it has not been handed on yet, so that it stays.
    """
    kept: dict[str, Any] = {
        field.name: getattr(known, field.name)
        for field in fields(site)
        if field.default is not MISSING and getattr(site, field.name) == field.default
    }
    kept |= {"order": known.order, "coverage": Coverage.OBSERVED, "detail": ""}
    if failed and known.coverage is Coverage.RECORDER_FAILED:
        kept |= {"coverage": known.coverage, "detail": known.detail}
    return replace(site, **kept)
