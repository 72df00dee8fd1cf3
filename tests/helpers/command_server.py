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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.waiting import until

IMPORTS = (
    "torch", "edgeglass_models.towers", "edgeglass_models.recipes", "pandas", "plotly.graph_objects",
    "sklearn.neighbors", "edgeglass_diag.commands", "edgeglass_diag.rules", "edgeglass_diag.store.reader",
    "edgeglass_diag.watching", "edgeglass_diag.programs.run_jobs", "edgeglass_diag.evaluation.evaluate",
)  # fmt: skip


@dataclass
class Copy:
    """A copy of the process that goes on beside the test.

    Attributes:
        pid: of the copy.
        place: the folder with what it prints: ``stdout`` and ``stderr``.
    """

    pid: int
    place: Path
    _server: CommandServer
    _status: int | None = None

    def wait(self) -> int:
        """Return the exit status once the copy has ended."""
        until(self._has_ended, f"process {self.pid} has ended")
        assert self._status is not None
        return self._status

    def _has_ended(self) -> bool:
        if self._status is None:
            self._status = self._server._ask({"ended": self.pid})
        return self._status is not None

    def send_signal(self, number: int) -> None:
        """Send a signal to the copy if it has not been seen to end."""
        if self._status is None:
            os.kill(self.pid, number)


class CommandServer:
    """The server, as the tests see it. Close it at the end.

    Args:
        imports: names of modules that are imported before the copies are made.
        python: the interpreter.
        folder: where it is started, which must have the package ``tests``.
    """

    def __init__(
        self, imports: Sequence[str] = IMPORTS, python: str | Path = sys.executable, folder: Path | None = None
    ) -> None:
        line = [str(python), "-m", "tests.helpers.command_server", *imports]
        self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)

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
        with tempfile.TemporaryDirectory() as place:
            status = self._ask(_asked(function, arguments, Path(place), cwd, env))
            assert status is not None
            out, error = ((Path(place) / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess([str(argument) for argument in arguments], status, out, error)

    def start(
        self, function: Callable[..., object], *arguments: object, place: Path, env: Mapping[str, str] | None = None
    ) -> Copy:
        """Call a function in a copy that goes on; what it prints goes to files of the folder ``place``."""
        pid = self._ask({**_asked(function, arguments, place, None, env), "goes_on": True})
        assert pid is not None
        return Copy(pid, place, self)

    def _ask(self, asked: Mapping[str, object]) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _asked(
    function: Callable[..., object],
    arguments: tuple[object, ...],
    place: Path,
    cwd: Path | None,
    env: Mapping[str, str] | None,
) -> dict[str, object]:
    where = {"place": str(place), "cwd": str(cwd or Path.cwd()), "env": dict(env or os.environ)}
    return {"module": function.__module__, "function": function.__qualname__, "arguments": arguments, **where}


def _serve(imports: Sequence[str]) -> None:
    for name in imports:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # the copies share what is here, and look through what is theirs alone
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(asked: dict[str, Any]) -> int | None:
    """Return the exit status of a copy, None where it goes on; or, of one that shall go on, its number."""
    pid = asked.get("ended") or os.fork()
    if pid == 0:
        _run(asked)
    if "goes_on" in asked:
        return pid
    ended, status = os.waitpid(pid, os.WNOHANG if "ended" in asked else 0)
    return os.waitstatus_to_exitcode(status) if ended else None


def command_line(*arguments: str) -> None:
    """Run the command line as the installed script does, whose processes start it by its path."""
    sys.modules["__main__"].__spec__ = None
    sys.argv[:] = [str(Path(sys.executable).parent / "edgeglass-diag"), *arguments]
    importlib.import_module("edgeglass_diag.commands").main()


def _run(asked: dict[str, Any]) -> None:
    """Run a command and end this copy as the interpreter would."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        opened = os.open(Path(asked["place"]) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
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
    _serve(sys.argv[1:])
