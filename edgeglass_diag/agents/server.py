"""The server: which tools there are, and the one function through which every answer goes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import wraps
from importlib.metadata import version
from inspect import iscoroutinefunction
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from edgeglass_diag.agents import reading
from edgeglass_diag.agents.asking import Asking
from edgeglass_diag.agents.workers import Workers
from edgeglass_diag.bounded import bounded, bounded_text
from edgeglass_diag.process import error_text
from edgeglass_diag.records import UsageError

INSTRUCTIONS = (
    "Diagnoses trainings of torch models, vision-text alignment above all. Begin with diagnose on a run folder: it "
    "says what is wrong, what is proved and what guessed, and what to do next. A guess is proved by explain_start, "
    "explain_state and explain_result. A program without a run is trained under watch by the shell command "
    "'edgeglass-diag diagnose train.py -- ARGS'."
)

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_RUNS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)


def answer(value: Any, *, is_error: bool = False) -> CallToolResult:
    """Return a value as an answer of less than 20 kB: a text as it is, all else as JSON; its length is cut here."""
    text = value if isinstance(value, str) else json.dumps(bounded(value), ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=bounded_text(text))], is_error=is_error)


class Server(MCPServer[Any]):
    """A server whose errors are one sentence each."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool by its name; what fails is an answer that says why."""
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            return answer(f"{name}: {_sentence(error)}", is_error=True)


def _sentence(error: ToolError) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        said = [f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in cause.errors()]
        return "; ".join(said)
    if isinstance(cause, UsageError):
        return " ".join(str(cause).split())
    return " ".join(str(error).split()) if cause is None else error_text(cause)


def make_server(workers: Workers) -> Server:
    """Return the server with all tools; ``workers`` start the processes of those that run code of the user."""
    server = Server("edgeglass-diag", version=version("edgeglass-diag"), instructions=INSTRUCTIONS, log_level="WARNING")
    asking = Asking(workers)
    reads: list[Callable[..., Any]] = [
        reading.diagnose, reading.runs, reading.findings, reading.finding, reading.signals, reading.compare,
        reading.audit, reading.rules, asking.check, asking.evaluate, asking.explain_state, asking.explain_result,
    ]  # fmt: skip
    for tool in reads:
        server.add_tool(_answered(tool), annotations=_READS, structured_output=False)
    for tool in (asking.explain_start, asking.explain_stop):
        server.add_tool(_answered(tool), annotations=_RUNS, structured_output=False)
    return server


def _answered(tool: Callable[..., Any]) -> Callable[..., CallToolResult | Awaitable[CallToolResult]]:
    """Return the tool with its value as an answer."""
    if iscoroutinefunction(tool):

        @wraps(tool)
        async def waiting(**arguments: Any) -> CallToolResult:
            return answer(await tool(**arguments))

        return waiting

    @wraps(tool)
    def direct(**arguments: Any) -> CallToolResult:
        return answer(tool(**arguments))

    return direct


def serve() -> None:
    """Serve over stdin and stdout until stdin is closed; all processes of the server end with it."""
    anyio.run(_serve)


async def _serve() -> None:
    async with Workers() as workers:
        await make_server(workers).run_stdio_async()
