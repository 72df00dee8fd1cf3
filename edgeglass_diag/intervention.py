"""A change that is made to a training from outside: rules nominate such changes, replays make them. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

AT_FINDING = "<site of the finding>"
"""Site of a change that a rule nominates for the place at which it found the fault."""


@dataclass(frozen=True, order=True)
class Intervention:
    """One change that is made from outside.

    Attributes:
        name: what is changed, a name of the registry, such as ``optimizer.lr``.
        value: how: a factor, a limit, a word; None where there is only one way.
        site: path of the parameter, module, attention or loss that is changed; all of its kind if empty.
    """

    name: str
    value: float | str | None = None
    site: str = ""

    @property
    def label(self) -> str:
        """Return the words by which a trial and an answer call it, such as ``optimizer.lr=0.1 on tower.proj``."""
        value = "" if self.value is None else f"={self.value:g}" if isinstance(self.value, float) else f"={self.value}"
        return f"{self.name}{value}" + (f" on {self.site}" if self.site else "")

    def of_finding(self, site: str) -> Intervention:
        """Return the change for a finding at a site, which takes the place of ``AT_FINDING``."""
        return replace(self, site=site) if self.site == AT_FINDING else self
