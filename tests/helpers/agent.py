"""An agent's side of the server: the SDK's own client over stdio, called from a test that is not asynchronous."""

import json
import sys
from contextlib import contextmanager

from anyio.from_thread import start_blocking_portal
from mcp import Client, StdioServerParameters

MOST = 20_000
"""Bytes of an answer."""


class Agent:
    """Calls tools and checks the size of each answer."""

    def __init__(self, portal, client):
        self._portal, self._client = portal, client

    def tools(self):
        listed = self._portal.call(self._client.list_tools)
        assert len(listed.model_dump_json(by_alias=True).encode()) < MOST
        return {tool.name: tool for tool in listed.tools}

    def call(self, name, **arguments):
        """Return whether the answer is an error, and its text."""
        result = self._portal.call(self._client.call_tool, name, arguments)
        assert len(result.model_dump_json(by_alias=True).encode()) < MOST, name
        (content,) = result.content
        return result.is_error, content.text

    def text(self, name, **arguments):
        is_error, text = self.call(name, **arguments)
        assert not is_error, text
        return text

    def ask(self, name, **arguments):
        return json.loads(self.text(name, **arguments))

    def refused(self, name, **arguments):
        """Return the sentence that says what is wrong."""
        is_error, text = self.call(name, **arguments)
        assert is_error, text
        assert len(text.splitlines()) == 1
        return text


@contextmanager
def agent(folder):
    """An agent whose server works in a folder; the server ends with the block."""
    line = StdioServerParameters(
        command=sys.executable, args=["-m", "edgeglass_diag", "mcp"], cwd=folder, env={"OMP_NUM_THREADS": "1"}
    )
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(line)) as client:
        yield Agent(portal, client)
