"""What all observers of one watch share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgeglass_diag.record.boundary import Boundary, measuring
from edgeglass_diag.record.buffer import WindowBuffer
from edgeglass_diag.record.module_stack import ModuleStack
from edgeglass_diag.record.naming import Naming
from edgeglass_diag.record.site_registry import SiteRegistry
from edgeglass_diag.record.tensor_sources import TensorSources
from edgeglass_diag.record.window_clock import WindowClock
from edgeglass_diag.sites import Kind


@dataclass(frozen=True)
class Recording:
    """One watch.

    Attributes:
        clock: which window it is, and whether it is recorded.
        naming: names of modules and parameters.
        sites: what was seen.
        buffer: statistics of the window.
        sources: which modules tensors come from.
        stack: the running modules.
        boundary: what every call from outside passes.
    """

    clock: WindowClock
    naming: Naming = field(default_factory=Naming)
    sites: SiteRegistry = field(default_factory=SiteRegistry)
    buffer: WindowBuffer = field(default_factory=WindowBuffer)
    sources: TensorSources = field(default_factory=TensorSources)
    stack: ModuleStack = field(default_factory=ModuleStack)
    boundary: Boundary = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "boundary", Boundary(self.clock, self.sites))

    def measuring(self, path: str, kind: Kind) -> measuring:
        """Return the block in which statistics of a site are computed; a failure is noted, never raised."""
        return measuring(self.boundary, path, kind)

    def apart(self) -> Recording:
        """Return a recording of the same watch with statistics, sites and sources of its own."""
        other = replace(
            self, sites=SiteRegistry(), buffer=WindowBuffer(), sources=TensorSources(without_gradients=True)
        )
        object.__setattr__(other, "boundary", self.boundary)
        return other

    def leave_former_thread(self) -> None:
        """Leave the models of a thread that was watched before to it."""
        if self.clock.thread.has_moved:
            self.clock.thread.has_moved = False
            self.naming.leave()
