"""The end of a recorded window: its statistics leave the device and are handed on, and it is forgotten."""

from __future__ import annotations

from collections.abc import Callable

from edgeglass_diag.record.buffer import PendingWindow
from edgeglass_diag.record.dispatch import Dispatch
from edgeglass_diag.record.observer_list import Observers
from edgeglass_diag.record.recording import Recording
from edgeglass_diag.record.recursion import MAX_DEPTH
from edgeglass_diag.record.window_clock import MAX_FORWARDS, WindowClock
from edgeglass_diag.records import ParameterOrigin
from edgeglass_diag.sites import Coverage, Kind, RecorderSite

_OF_EVALUATIONS = ("evaluation", "noise")
"""Families of signals of evaluations."""


class WindowEnds:
    """Hands recorded windows on.

    Args:
        recording: state of the watch.
        dispatch: takes the events.
        observers: of the watch.
        sink: takes each window, in the training thread.
    """

    def __init__(
        self, recording: Recording, dispatch: Dispatch, observers: Observers, sink: Callable[[PendingWindow], None]
    ) -> None:
        self._recording, self._dispatch, self._observers, self._sink = recording, dispatch, observers, sink
        self._last = 0  # the last window that was recorded

    def end(self) -> None:
        """End the window that has begun."""
        recording, clock = self._recording, self._recording.clock
        if not clock.is_whole:  # a window of which only the beginning was recorded has an untrue loss
            recording.buffer.clear()
            if not clock.is_mistaken:  # which happens once in a watch
                recording.sites.cannot_observe(*_left_out(clock))
        if clock.thread.has_company:
            recording.sites.cannot_observe(RecorderSite(path="threads"), Coverage.OTHER_THREAD_TRAINS)
        origins: tuple[ParameterOrigin, ...] = ()
        window: PendingWindow | None = None
        with recording.measuring("provenance", Kind.RECORDER):  # before any observer names models that did not train
            origins = self._observers.provenance.origins
        self._dispatch.window_ends()
        with recording.measuring("window", Kind.RECORDER):
            window = recording.buffer.flush(clock.step, recording.sites.new, origins)
        try:
            if window is not None:
                self._hand_on(window)
        finally:
            recording.buffer.clear()
            recording.stack.end_passes()
            clock.forwards, clock.is_too_deep, clock.is_mistaken = 0, False, False
            self._dispatch.forget()

    def end_evaluation(self) -> None:
        """End the window that has begun, of a step that is not taken: its evaluations belong to the last step."""
        recording, observers = self._recording, self._observers
        Dispatch((observers.dropout, observers.evaluations), recording.boundary).window_ends()
        recording.buffer.keep(_OF_EVALUATIONS)
        window: PendingWindow | None = None
        with recording.measuring("window", Kind.RECORDER):
            window = recording.buffer.flush(max(0, recording.clock.step - 1), recording.sites.new, ())
        if window is not None and window.entries:
            self._hand_on(window)

    def say_failures(self) -> None:
        """Hand on what has failed since the last window, as a window without readings."""
        sites = self._recording.boundary.new_sites
        if any(site.coverage in (Coverage.RECORDER_FAILED, Coverage.NO_OPTIMIZER) for site in sites):
            self._sink(PendingWindow(self._last, (), (), (), sites, ()))

    def _hand_on(self, window: PendingWindow) -> None:
        self._last = window.step
        with self._recording.measuring("sink", Kind.RECORDER):
            self._sink(window)
            self._recording.sites.handed_on()  # only now: a window that could not be given leaves its sites to the next
        with self._recording.measuring("embeddings", Kind.RECORDER):
            self._observers.snapshots.hand_over()


def _left_out(clock: WindowClock) -> tuple[RecorderSite, Coverage, str]:
    """Return the site, the reason and the detail of a window of which only the beginning is recorded."""
    if clock.is_too_deep:
        return RecorderSite(path="depth"), Coverage.TOO_DEEP, f"more than {MAX_DEPTH} modules inside each other"
    return RecorderSite(path="window"), Coverage.TOO_MANY_FORWARDS, f"more than {MAX_FORWARDS} before a step"
