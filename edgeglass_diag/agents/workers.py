"""Starts processes of ``worker``, hears them, and ends them; all of them with the server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from edgeglass_diag.records import UsageError

_PATIENCE = 5.0
"""Seconds that a process has to end by itself, with all that it started."""

_LONGEST = 2**20
"""Most bytes of one of its lines."""


class State(StrEnum):
    """How a process stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass
class Asked:
    """A question that a process answers in the background.

    Attributes:
        state: how it stands.
        progress: what it told last.
        result: its answer, None before.
        error: why it failed, in a sentence; empty where it did not.
        begun: ``time.monotonic()`` of its start.
        ended: set once it is over.
    """

    state: State = State.RUNNING
    progress: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    error: str = ""
    begun: float = field(default_factory=time.monotonic)
    ended: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def take(self, message: Mapping[str, Any]) -> None:
        """Note a message of the process."""
        if "progress" in message:
            self.progress = message["progress"]
        elif "result" in message:
            self.state, self.result = State.FINISHED, message["result"]
        else:
            self.state, self.error = State.FAILED, str(message["error"])


class Workers:
    """The processes of a server, which end with the block."""

    def __init__(self) -> None:
        self._group: TaskGroup = anyio.create_task_group()

    async def __aenter__(self) -> Workers:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(kind, error, trace)

    async def answer(self, call: str, **arguments: Any) -> Any:
        """Ask a process of its own, and return its answer.

        Raises:
            UsageError: with what the process said, if it failed.
        """
        asked = Asked()
        await _converse(asked, call, arguments)
        if asked.state is not State.FINISHED:
            raise UsageError(asked.error)
        return asked.result

    def begin(self, call: str, **arguments: Any) -> Asked:
        """Ask a process that goes on in the background."""
        asked = Asked()
        self._group.start_soon(self._run, asked, call, arguments)
        return asked

    async def _run(self, asked: Asked, call: str, arguments: Mapping[str, Any]) -> None:
        try:
            with asked.scope:
                await _converse(asked, call, arguments)
        finally:
            if asked.state is State.RUNNING:
                asked.state = State.STOPPED
            asked.ended.set()


async def _converse(asked: Asked, call: str, arguments: Mapping[str, Any]) -> None:
    """Start a process, ask it, and take what it tells until it has ended."""
    line = [sys.executable, "-m", "edgeglass_diag.agents.worker"]
    process = await anyio.open_process(line, stderr=None, start_new_session=True)
    try:
        assert process.stdin is not None
        await process.stdin.send(json.dumps({"call": call, "arguments": arguments}).encode() + b"\n")
        await _listen(process, asked)
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
    if asked.state is State.RUNNING:
        asked.state, asked.error = State.FAILED, f"its process ended with exit status {process.returncode}"


async def _listen(process: Process, asked: Asked) -> None:
    assert process.stdout is not None
    lines = BufferedByteReceiveStream(process.stdout)
    with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
        while asked.state is State.RUNNING:
            asked.take(json.loads(await lines.receive_until(b"\n", _LONGEST)))


async def _end(process: Process) -> None:
    """Close the stdin of a process, by which it ends; kill it if it does not."""
    assert process.stdin is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    with anyio.move_on_after(_PATIENCE):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
