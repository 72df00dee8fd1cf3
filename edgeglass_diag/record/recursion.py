"""How deep modules are followed, and the room on Python's call stack that following them takes."""

from __future__ import annotations

import sys

FRAMES_PER_MODULE = 1
"""Frames by which the call stack is deeper in each running module that has hooks: ``nn.Module._call_impl.inner``."""

MAX_DEPTH = 64
"""Modules inside each other that are followed. Unwatched each takes three frames or more of the 1000 that Python
allows, so that with those of the watch a quarter of them is used where following ends."""


class RecursionRoom:
    """Room for the frames that watching has put on the call stack.

    Python's limit is higher by them until the window ends, so that a model fails by recursion where it would unwatched.
    """

    def __init__(self) -> None:
        self._given = 0

    def give(self, frames: int) -> None:
        """Raise the limit once."""
        if not self._given:
            self._given = frames
            sys.setrecursionlimit(sys.getrecursionlimit() + frames)

    def take_back(self) -> None:
        """Lower the limit by what was given; relative to others, who may have changed it meanwhile."""
        given, self._given = self._given, 0
        if given:
            sys.setrecursionlimit(sys.getrecursionlimit() - given)
