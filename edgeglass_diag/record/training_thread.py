"""Which thread is watched: one at a time, whose events are observed while those of the others pass by."""

from __future__ import annotations

import threading

PATIENCE = 256
"""Steps of others in a row after which the thread, or the optimizer, that is followed counts as done, as in a second
phase of the training. The critic of a Wasserstein GAN takes some 100 at most for each of its generator."""

_HANDED_OVER = 2
"""Steps in a row by which another thread takes over, as long as only one has trained at a time."""


class TrainingThread:
    """The thread that is watched.

    That is the first one that runs a forward pass with gradients, until an optimizer steps: then the one in which it
    stepped. Another takes over with its second step in a row, as a worker after a warm-up in the main thread does, or
    when this one has ended. Once a thread has stepped again after another, several train at the same time, and only
    ``PATIENCE`` steps of others in a row take it over.

    Attributes:
        identity: of the thread, None before any is known.
        has_company: whether several threads train.
        has_moved: whether this is another thread than one that was watched before, and that may train on.
    """

    def __init__(self) -> None:
        self.identity: int | None = None
        self.has_company = False
        self.has_moved = False
        self._claims = threading.Lock()
        self._passing = False
        self._has_stepped = False
        self._former: set[int] = set()
        self._steps_of_others = 0

    @property
    def is_another(self) -> bool:
        """Whether this is not the thread that is watched; false before any is known."""
        return self.identity not in (None, threading.get_ident())

    @property
    def living(self) -> threading.Thread | None:
        """The thread that is watched, None where none is known or it has ended."""
        return next((thread for thread in threading.enumerate() if thread.ident == self.identity), None)

    def begins_pass(self, *, training: bool) -> None:
        """Take note that this thread runs a forward pass; one without gradients counts while it runs."""
        with self._claims:  # of several that begin at once, one is watched
            if self.identity is None:
                self.identity, self._passing = threading.get_ident(), not training
            elif training and not self.is_another:
                self._passing = False

    def ends_pass(self) -> None:
        """Take note that the forward pass is over."""
        if self._passing and not self._has_stepped:
            self.identity = None

    def begins_step(self) -> bool:
        """Return whether an optimizer that is about to step in this thread is watched."""
        if not self._has_stepped:
            self._move(threading.get_ident())
        return not self.is_another

    def steps(self) -> bool:
        """Take note that an optimizer has stepped in this thread, and return whether it is watched."""
        this = threading.get_ident()
        if this == self.identity and self._has_stepped:
            self.has_company = self.has_company or self._steps_of_others > 0
            self._steps_of_others = 0
        elif self._takes_over(this):
            self._former.add(this)
            self._has_stepped, self._steps_of_others = True, 0
            self._move(this)
        return this == self.identity

    def _move(self, this: int) -> None:
        self.has_moved = self.has_moved or self.identity not in (None, this)
        self.identity = this

    def _takes_over(self, this: int) -> bool:
        if not self._has_stepped or all(thread.ident != self.identity for thread in threading.enumerate()):
            return True
        self.has_company = self.has_company or this in self._former
        self._steps_of_others += 1
        return self._steps_of_others >= (PATIENCE if self.has_company else _HANDED_OVER)
