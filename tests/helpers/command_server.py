"""A process that has imported what the command line needs, and runs each command in a forked copy of itself.

The copies do what ``edgeglass-diag`` does, without the seconds that its imports take. The server itself runs nothing,
so that no thread of it is missing in a copy.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

IMPORTS = (
    "torch", "edgeglass_models.towers", "edgeglass_models.recipes", "pandas", "plotly.graph_objects",
    "sklearn.neighbors", "edgeglass_diag.commands", "edgeglass_diag.rules", "edgeglass_diag.store.reader",
    "edgeglass_diag.watching", "edgeglass_diag.programs.run_jobs", "edgeglass_diag.evaluation.evaluate",
)  # fmt: skip


class CommandServer:
    """The server, as the tests see it. Close it at the end."""

    def __init__(self) -> None:
        line = [sys.executable, "-m", "tests.helpers.command_server"]
        self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(
        self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line with these arguments and return how it ended."""
        return self.call(command_line, *arguments, cwd=cwd, env=env)

    def call(
        self,
        function: Callable[..., object],
        *arguments: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Call a function of a module with arguments that JSON can hold; return how the copy ended that did."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with tempfile.TemporaryDirectory() as place:
            where = {"place": place, "cwd": str(cwd or Path.cwd()), "env": dict(env or os.environ)}
            asked = {"module": function.__module__, "function": function.__qualname__, "arguments": arguments, **where}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            status = int(process.stdout.readline())
            out, error = ((Path(place) / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess([str(argument) for argument in arguments], status, out, error)

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _serve() -> None:
    for name in IMPORTS:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # the copies share what is here, and look through what is theirs alone
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def command_line(*arguments: str) -> None:
    """Run the command line as the installed script does."""
    sys.argv[:] = [str(Path(sys.executable).parent / "edgeglass-diag"), *arguments]
    importlib.import_module("edgeglass_diag.commands").main()


def _run(asked: dict[str, Any]) -> None:
    """Run a command and end this copy as the interpreter would."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        opened = os.open(Path(asked["place"]) / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115  they last as long as the copy
    status: object = 0
    try:
        getattr(importlib.import_module(asked["module"]), asked["function"])(*asked["arguments"])
    except SystemExit as error:
        status = error.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status if isinstance(status, int) else 0 if status is None else 1)


if __name__ == "__main__":
    _serve()
