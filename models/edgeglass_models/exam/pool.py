"""Calls of functions in copies of this process, some at a time: what it has imported is imported in each."""

from __future__ import annotations

import ast
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from edgeglass_diag.process import error_text, say

WALL_SECONDS = 240
"""After which a copy is ended that waits for something: a busy one has used its CPU time long before."""


@dataclass(frozen=True)
class Task:
    """A call in a copy of this process; what it finds out it writes to a file.

    Attributes:
        call: the function.
        name: told where it fails.
    """

    call: Callable[[], None]
    name: str


@dataclass(frozen=True)
class Ended:
    """A copy that has ended: ``problem`` is empty where it did so by itself, without an exception."""

    task: Task
    problem: str


def run_all(tasks: Iterable[Task], jobs: int) -> Iterator[Ended]:
    """Run tasks in copies of this process, at most ``jobs`` at a time; yield each when it has ended."""
    waiting = iter(tasks)
    running: dict[int, tuple[Task, float]] = {}
    gc.collect()
    gc.freeze()  # the copies share what is here already as long as nobody writes to it
    try:
        while True:
            while len(running) < jobs and (task := next(waiting, None)) is not None:
                running[_forked(task)] = (task, time.monotonic())
            if not running:
                return
            yield _next_ended(running)
    finally:
        gc.unfreeze()
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _next_ended(running: dict[int, tuple[Task, float]]) -> Ended:
    while True:
        for process, (task, begun) in running.items():
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del running[process]
                return Ended(task, _problem(status))
            if time.monotonic() - begun > WALL_SECONDS:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                del running[process]
                return Ended(task, f"hung for {WALL_SECONDS} s")
        time.sleep(0.02)


def _problem(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        over = (signal.SIGXCPU, signal.SIGKILL)
        return "over its CPU time" if number in over else f"ended by signal {number}"
    return "" if os.WEXITSTATUS(status) == 0 else "failed"


def _forked(task: Task) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        task.call()
        status = 0
    except BaseException as error:
        say(f"{task.name}: {error_text(error)}")
    finally:
        os._exit(status)


def import_for(sources: Iterable[str]) -> dict[str, str]:
    """Import what programs import, by their own statements; return what failed, by statement."""
    from edgeglass_models.torchvision_operators import define_missing_operators

    define_missing_operators()
    failed: dict[str, str] = {}
    statements = [
        "import torch._dynamo",  # making an optimizer imports it, for a second
        *(
            ast.unparse(node)
            for source in sources
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__")
        ),
    ]
    for text in dict.fromkeys(statements):
        try:
            exec(text, {})
        except Exception as error:
            failed[text] = error_text(error)
    return failed
