"""Everything that touches torch's hooks, and nothing else does. Hooks live inside ``with`` and are always removed."""

from edgeglass_diag.record.recorder import Recorder

__all__ = ["Recorder"]
