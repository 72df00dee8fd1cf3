"""The one boundary between the recorder and the threads that train: what fails inside of it does not leave it.

Each call of the recorder that torch or a thread of the user makes passes one of the functions below. They are written
out in full, with nothing of the recorder in between that could fail itself and leave torch in another state.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch.utils._python_dispatch import _disable_current_modes

from edgeglass_diag.process import error_text
from edgeglass_diag.record.profiler_ranges import RECORDER, is_profiled, span
from edgeglass_diag.record.signal_handlers import is_failure, is_of_a_signal_handler
from edgeglass_diag.record.site_registry import SiteRegistry
from edgeglass_diag.record.window_clock import WindowClock, is_capturing
from edgeglass_diag.sites import Coverage, Kind, RecorderSite, Site

MOST_FAILURES = 64
"""Failures at the boundary itself after which the recorder ceases for good: each costs the training time."""

_UNLOCK_S = 1.0
"""Seconds for which a call that must not be lost waits for another thread that is inside."""


class Boundary:
    """What is noted at the boundary of one watch, and whether it is open.

    Args:
        clock: tells which calls are none of the watch's business.
        sites: where failures are noted.

    Attributes:
        clock: of the watch.
        process: that is watched; in a fork of it the lock may be held by a thread that is not there.
        lock: held while the recorder works. Events do not wait for it: who finds it taken passes by.
        gradients: whether the user's code had gradients on when it was left.
        is_closed: whether nothing passes any more.
        unnoted: the failure that could not be noted among the sites, None where there is none.
    """

    def __init__(self, clock: WindowClock, sites: SiteRegistry) -> None:
        self.clock = clock
        self.process = os.getpid()
        self.lock = threading.RLock()
        self.gradients = True
        self.is_closed = False
        self.unnoted: Site | None = None
        self._sites = sites
        self._failures = 0

    @property
    def new_sites(self) -> tuple[Site, ...]:
        """What is new of the sites, with the failure that could not be noted among them."""
        try:
            return (*self._sites.new, *([] if self.unnoted is None else [self.unnoted]))
        except Exception as error:
            if is_of_a_signal_handler(error):
                raise
            return (failure("sites", error),)

    def failed(self, error: Exception, path: str, kind: Kind = Kind.RECORDER) -> None:
        """Note a failure within one site or observer."""
        try:
            self._sites.failed(error, path, kind)
        except Exception as again:
            if is_of_a_signal_handler(again):
                raise
            self.unnoted = failure("sites", error)

    def broken(self, error: Exception, path: str) -> None:
        """Note a failure that has reached the boundary; after many of them the recorder ceases."""
        self._failures += 1
        self.failed(error, path)
        if self._failures == MOST_FAILURES:
            self._close(f"{MOST_FAILURES} failures, the last {error_text(error)}")

    def each(self, listeners: Iterable[tuple[str, Callable[..., None]]], at: str | None, *arguments: object) -> None:
        """Call all listeners, whether others fail or not.

        Args:
            listeners: each with the path of the recorder's site at which its failure is noted.
            at: path of a module, at which a failure is noted instead.
            arguments: of the calls.
        """
        for path, listener in listeners:
            try:
                listener(*arguments)
            except Exception as error:
                if is_of_a_signal_handler(error):
                    raise
                self.failed(error, path if at is None else at, Kind.RECORDER if at is None else Kind.MODULE)

    def take_away(self, *removals: Callable[[], object]) -> None:
        """Call all that takes something of the recorder away from torch, and call again what has failed.

        What cannot be taken away stays there, and nothing passes any more. An exception of the user that arrives
        meanwhile is raised when all is done.
        """
        users: BaseException | None = None
        for remove in removals:
            try:
                remove()
            except BaseException as error:
                users = users if is_failure(error) else error
                self._remove_again(remove, error)
        if users is not None:
            raise users

    def _remove_again(self, remove: Callable[[], object], error: BaseException) -> None:
        if is_failure(error):
            self.broken(error, "sources")
        try:
            remove()
        except Exception as again:
            if is_of_a_signal_handler(again):
                raise
            self._close(f"what cannot be taken away from torch, {error_text(again)}")

    def _close(self, reason: str) -> None:
        self.is_closed = True
        self.failed(RuntimeError(f"nothing more is recorded after {reason}"), "recorder")


class measuring:  # noqa: N801  a context manager that reads as a function, as torch.no_grad does
    """A block whose failure is noted under a path of its own, shown by a running profiler as the recorder's work."""

    def __init__(self, boundary: Boundary, path: str, kind: Kind) -> None:
        self._boundary, self._path, self._kind = boundary, path, kind
        self._span: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        if is_profiled():
            self._span = span(RECORDER)
            self._span.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._span is not None:
            self._span.__exit__(kind, error, trace)
        if error is None or not is_failure(error):
            return False
        self._boundary.failed(error, self._path, self._kind)
        return True


def failure(path: str, error: Exception) -> RecorderSite:
    """Return the site that says that a part of the recorder failed."""
    return RecorderSite(path=path, coverage=Coverage.RECORDER_FAILED, detail=error_text(error))


class Bounded(Protocol):
    """What has calls from outside."""

    @property
    def boundary(self) -> Boundary:
        """The boundary of its watch."""


_Self = TypeVar("_Self", bound=Bounded)
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Method = Callable[Concatenate[_Self, _Given], _Result]


def _without_modes(method: Callable[..., _Result], /, *args: object, **kwargs: object) -> _Result:
    with _disable_current_modes():
        return method(*args, **kwargs)


def unobservable(clock: WindowClock) -> bool:
    """Return whether nothing can be observed now."""
    return clock.cannot_observe_now


def elsewhere(clock: WindowClock) -> bool:
    """Return whether this is another process or thread than the one that is watched."""
    return clock.is_elsewhere


def elsewhere_or_capturing(clock: WindowClock) -> bool:
    """Return whether what is computed here is none of the watch's, or does not run now but in a CUDA graph."""
    return clock.is_elsewhere or is_capturing()


def entry(
    path: str, *, unless: Callable[[WindowClock], bool] | None = None, always: bool = False
) -> Callable[[_Method[_Self, _Given, _Result]], Callable[Concatenate[_Self, _Given], _Result | None]]:
    """Return a decorator for a method by which a foreign thread comes in.

    It runs without gradients, autocast, modes of the user and the ``__torch_function__`` of tensors. An exception
    of it becomes coverage of the site ``path`` and the result None; those of the user pass: what is no Exception, as
    KeyboardInterrupt and StopTraining, and what a signal handler raises. Where ``unless`` is true the method is not
    called; it is asked before all else, as torch.compile follows these lines and may go no further.

    Args:
        path: of the recorder's site.
        unless: whether this call is none of the watch's business.
        always: whether the call is made although the boundary is closed, or another thread is inside and a second of
            waiting does not help: what puts back what was changed.
    """

    def decorate(method: _Method[_Self, _Given, _Result]) -> Callable[Concatenate[_Self, _Given], _Result | None]:
        def enter(self: _Self, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result | None:
            boundary = self.boundary
            try:
                if (unless is not None and unless(boundary.clock)) or (boundary.is_closed and not always):
                    return None
                patience = _UNLOCK_S if always and os.getpid() == boundary.process else 0
                held = False
                try:
                    held = boundary.lock.acquire(patience > 0, patience or -1)
                    if not held and not always:
                        return None
                    # Without an autocast the guard of functions once more, which costs a third of that of autocast.
                    mixed = torch._C._is_any_autocast_enabled()
                    precision = torch._C._DisableAutocast() if mixed else torch._C.DisableTorchFunction()
                    with torch._C.DisableTorchFunction(), precision:
                        gradients, outer = torch.is_grad_enabled(), boundary.gradients
                        try:
                            boundary.gradients = gradients
                            torch._C._set_grad_enabled(False)
                            # A FlopCounterMode counts the user's operations, not ours.
                            stacked = torch._C._len_torch_dispatch_stack()
                            called = functools.partial(_without_modes, method) if stacked else method
                            return called(self, *args, **kwargs)
                        finally:
                            torch._C._set_grad_enabled(gradients)
                            boundary.gradients = outer
                finally:
                    if held:
                        boundary.lock.release()
            except Exception as error:
                if is_of_a_signal_handler(error):
                    raise
                try:
                    boundary.broken(error, path)
                except Exception as again:  # what cannot even be noted is no matter of the training's either
                    if is_of_a_signal_handler(again):
                        raise
                return None

        functools.update_wrapper(enter, method)
        return enter

    return decorate


def question(path: str) -> Callable[[_Method[_Self, _Given, _Result]], _Method[_Self, _Given, _Result | None]]:
    """Return a decorator for a method that a foreign thread asks before it goes on, and that computes nothing.

    An exception of it that is not the user's becomes coverage of the site ``path`` and the answer None.
    """

    def decorate(method: _Method[_Self, _Given, _Result]) -> _Method[_Self, _Given, _Result | None]:
        def ask(self: _Self, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result | None:
            try:
                return method(self, *args, **kwargs)
            except Exception as error:
                if is_of_a_signal_handler(error):
                    raise
                try:
                    self.boundary.broken(error, path)
                except Exception as again:
                    if is_of_a_signal_handler(again):
                        raise
                return None

        functools.update_wrapper(ask, method)
        return ask

    return decorate
