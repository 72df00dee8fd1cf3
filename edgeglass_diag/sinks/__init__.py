"""Where a record goes besides its own folder: one module for each sink, whose package is imported where it is used.

The same sinks are fed live, by ``feeds``, and from a record, by ``edgeglass_diag.exporting``.
"""

from edgeglass_diag.sinks.feeds import Feeds
from edgeglass_diag.sinks.sink import About, Sink, closing
from edgeglass_diag.sinks.targets import TARGETS, Target, live_targets, target_named

__all__ = ["TARGETS", "About", "Feeds", "Sink", "Target", "closing", "live_targets", "target_named"]
