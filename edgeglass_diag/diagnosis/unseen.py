"""What nobody looked at: sites that could not be observed, steps that were not recorded, rules that did not run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeglass_diag.records import Site
from edgeglass_diag.render.coverage import SENTENCES
from edgeglass_diag.site_coverage import Coverage

if TYPE_CHECKING:
    from edgeglass_diag.store import Run

_SEEN = frozenset(
    {
        Coverage.OBSERVED,
        Coverage.FROZEN,
        Coverage.NOT_HELD,
        Coverage.NOT_HELD_WITH_GRADIENT,
        Coverage.HELD_WITHOUT_GRADIENT,
        Coverage.HELD_FROZEN,
        Coverage.GRADIENT_TAKEN_AWAY,
    }
)
"""What is known of these sites is all that there is to know, and rules judge it."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """Sites of one kind that are not observed for one reason.

    Attributes:
        kind: of the sites.
        coverage: the reason.
        count: how many they are.
        first: path of the first.
    """

    kind: str
    coverage: Coverage
    count: int
    first: str

    @property
    def text(self) -> str:
        """In words."""
        noun = self.kind if self.count == 1 else f"{self.kind}s"
        where = f" ({self.first or 'whole model'}{', ...' if self.count > 1 else ''})"
        return f"{self.count} {noun}{where}: {SENTENCES[self.coverage]}"


def unseen_sites(run: Run) -> list[Unseen]:
    """Return what was not observed by kind and reason, the most numerous first; of the main process's sites."""
    groups: dict[tuple[str, Coverage], list[Site]] = {}
    for site in run.sites:
        if site.coverage not in _SEEN:
            groups.setdefault((str(site.kind), site.coverage), []).append(site)
    found = [Unseen(kind, why, len(sites), sites[0].path) for (kind, why), sites in groups.items()]
    return sorted(found, key=lambda each: -each.count)


def idle_rules(run: Run) -> list[str]:
    """Return the codes of the catalogue's rules that did not judge this run, in order."""
    from edgeglass_diag.rules import CATALOGUE

    ran = run.rules
    return sorted(rule.code for rule in CATALOGUE if not {rule.code, *rule.aliases} & ran.keys())
