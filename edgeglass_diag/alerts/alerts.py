"""Tell a webhook of findings, once of each, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable

from edgeglass_diag.alerts.address import form_of, masked
from edgeglass_diag.alerts.message import body
from edgeglass_diag.alerts.post import TIMEOUT, NotDeliveredError, post
from edgeglass_diag.process import say
from edgeglass_diag.records import Finding

LAST_WAIT = 15.0
"""Seconds for which the end of a run waits for messages on their way: three that get no answer. Where one has failed
before, it waits for one."""

_TRIES = 3
_LONGEST_PAUSE = 5.0
"""Seconds of a pause that a webhook asks for; a longer one counts as not delivered."""


class Alerts:
    """Posts findings to a webhook; no call waits for it but ``close``, and none raises.

    A finding is told once, whatever becomes of it: when its verdict stands, or at the end of the run. One whose verdict
    is early waits, and is never told where the model learns after all. Of messages that cannot be delivered, the first
    is said on stderr; the others are tried all the same.

    Args:
        address: of the webhook.
        run: name of the run.
        is_first: called with the first finding: whether this process tells at all. One of several ranks does.
    """

    def __init__(self, address: str, run: str, is_first: Callable[[], bool]) -> None:
        self._address, self._run, self._is_first = address, run, is_first
        self._form = form_of(address)
        self._told: set[tuple[str, str]] = set()
        self._queue: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._failed = False

    def tell(self, findings: Iterable[Finding], *, last: bool = False) -> None:
        """Tell of findings that were not told of yet.

        Args:
            findings: new or worse ones, or all.
            last: whether the run ends, so that what is early is told as well.
        """
        for finding in findings:
            waits = (finding.is_early and not last) or finding.learned_since is not None
            if finding.key in self._told or waits or not self._started():
                continue
            self._told.add(finding.key)
            self._queue.put(finding)

    def close(self) -> None:
        """Wait for what is on its way, a bounded time."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._queue.put(None)
        thread.join(TIMEOUT if self._failed else LAST_WAIT)
        self._ended.set()
        if thread.is_alive():
            self._fail(f"not all was delivered within {LAST_WAIT:g} s")

    def _started(self) -> bool:
        if self._thread is None and not self._ended.is_set():
            if not self._is_first():
                self._ended.set()
                return False
            thread = threading.Thread(target=self._work, name="edgeglass-diag alerts", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # can't start new thread
                self._ended.set()
                self._fail("no thread could be started")
                return False
            self._thread = thread
        return self._thread is not None

    def _work(self) -> None:
        while (finding := self._queue.get()) is not None and not self._ended.is_set():
            try:
                self._deliver(finding)
            except NotDeliveredError as error:
                self._fail(str(error))
            except Exception as error:
                self._fail(type(error).__name__)

    def _deliver(self, finding: Finding) -> None:
        told = body(self._form, finding, self._run)
        for tried in range(1, _TRIES + 1):
            try:
                post(self._address, told)
                return
            except NotDeliveredError as error:
                if error.after is None or error.after > _LONGEST_PAUSE or tried == _TRIES:
                    raise
                self._ended.wait(error.after)

    def _fail(self, reason: str) -> None:
        if not self._failed:
            self._failed = True
            say(f"findings cannot be told to {masked(self._address)}: {reason}; the training and its record go on")
