"""Feeds sinks during the training, each in a thread of its own, for which nobody waits but at the end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from edgeglass_diag.process import error_text, say
from edgeglass_diag.records import Finding, RunStatus, Window
from edgeglass_diag.sinks.sink import About, Sink
from edgeglass_diag.sinks.targets import Target

ROOM = 2**18
"""Readings that may wait for a sink, some 60 MB; the readings of windows beyond it are not sent."""

STALL = 60.0
"""Seconds without progress at the end of the training after which a sink is given up."""

LONGEST = 120.0
"""Seconds that the end of the training waits for all sinks together."""


class Feed:
    """One sink, fed in a thread; no call of it raises. What fails is said once, and the sink gets nothing more.

    Attributes:
        failure: what ended it, empty where nothing did.
    """

    def __init__(self, target: Target) -> None:
        self.failure = ""
        self._target = target
        self._queue: queue.SimpleQueue[tuple[Window, Sequence[Finding]] | RunStatus] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._waiting = self._missed = 0
        self._moved = time.monotonic()
        self._thread: threading.Thread | None = None

    def begin(self, about: About) -> None:
        """Begin to feed; the packages are imported here, as a fork would cut an import in a thread in two."""
        try:
            self._target.load()
            self._thread = threading.Thread(
                target=self._run, args=(about,), name=f"edgeglass-diag {self._target.name}", daemon=True
            )
            self._thread.start()
        except Exception as error:
            self._thread = None
            self._fail(error)

    def put(self, window: Window, findings: Sequence[Finding]) -> None:
        """Hand over a window and its new or worse findings."""
        if self.failure or self._thread is None:
            return
        with self._counting:
            if self._waiting + len(window.readings) > ROOM:
                self._missed += 1
                window = replace(window, readings=())
            self._waiting += len(window.readings)
        self._queue.put((window, tuple(findings)))

    def end(self, status: RunStatus) -> None:
        """Say that nothing comes any more."""
        self._moved = time.monotonic()
        self._queue.put(status)

    def wait(self, until: float) -> None:
        """Wait until the sink has taken what was put, for as long as it gets on, and no longer than to a time."""
        thread = self._thread
        while thread is not None and thread.is_alive() and time.monotonic() < min(self._moved + STALL, until):
            thread.join(timeout=0.2)
        name = self._target.name
        if thread is not None and thread.is_alive():
            say(f"{name} has not taken the rest of the run in time; edgeglass-diag export --to {name} writes all of it")
        elif self._missed and not self.failure:
            say(f"{name} was too slow for {self._missed} windows; edgeglass-diag export --to {name} writes all of them")

    def _run(self, about: About) -> None:
        try:
            sink = self._target.open(about, None)
            self._feed(sink)
        except BaseException as error:  # of a foreign package, sys.exit too
            self._fail(error)

    def _feed(self, sink: Sink) -> None:
        """Give the sink what is put, up to the end of the run."""
        try:
            while not isinstance(item := self._queue.get(), RunStatus):
                window, findings = item
                if window.readings:
                    sink.readings(window.step, window.readings)
                for finding in findings:
                    sink.finding(finding)
                with self._counting:
                    self._waiting -= len(window.readings)
                self._moved = time.monotonic()
        except BaseException:
            with suppress(Exception):
                sink.close(RunStatus.STOPPED)
            raise
        sink.close(item)

    def _fail(self, error: BaseException) -> None:
        self.failure = error_text(error)
        say(f"nothing more is reported to {self._target.name}, the record goes on: {self.failure}")


class Feeds:
    """The sinks of one watch.

    Attributes:
        silent: whether they are left alone, as in a process whose rank is not 0.
    """

    def __init__(self, targets: Sequence[Target] = ()) -> None:
        self.silent = False
        self._targets = tuple(targets)
        self._feeds: list[Feed] = []

    def begin(self, about: About) -> None:
        """Begin to feed the sinks, unless they are to be left alone."""
        self._feeds = [] if self.silent else [Feed(target) for target in self._targets]
        for feed in self._feeds:
            feed.begin(about)

    def put(self, window: Window, findings: Sequence[Finding]) -> None:
        """Hand a window and its new or worse findings to all sinks, and wait for none."""
        for feed in self._feeds:
            feed.put(window, findings)

    def finish(self, status: RunStatus) -> None:
        """Tell all sinks how the run ended, and wait for them."""
        for feed in self._feeds:
            feed.end(status)
        until = time.monotonic() + LONGEST
        for feed in self._feeds:
            feed.wait(until)
