"""Run a program as ``__main__`` of this process, as ``python program`` does, and return how it ended."""

from __future__ import annotations

import os
import runpy
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType

from edgeglass_diag.process import StopTraining
from edgeglass_diag.programs.targets import Program

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def launch(program: Program) -> BaseException | None:
    """Run a program to its end; return the exception that ended it, its traceback free of the frames of this package.

    An error is printed as Python prints it, through ``sys.excepthook``, which the program may have replaced.
    """
    main = ModuleType("__main__")
    main.__dict__.update(__annotations__={}, __builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = main
    try:
        if program.kind == "script":
            _run_script(program, main)
        else:
            _run_package(program)
    except SystemExit as error:
        return error
    except BaseException as error:
        hide_our_frames(error)
        return error
    return None


def print_error(error: BaseException) -> None:
    """Print an error as the interpreter does when it ends by it."""
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    sys.excepthook(type(error), error, error.__traceback__)


def exit_status(error: BaseException | None) -> int:
    """Return the exit status that the shell sees of a program which ended with ``error``."""
    status = exit_argument(error)
    return status if isinstance(status, int) else 0 if status is None else 1


def exit_argument(error: BaseException | None) -> object:
    """Return the argument of ``sys.exit`` with which this process ends as the program did."""
    if isinstance(error, SystemExit):
        return error.code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 0 if error is None or isinstance(error, StopTraining) else 1


def _run_script(program: Program, main: ModuleType) -> None:
    path = os.path.abspath(program.target)
    _set_path(os.path.dirname(os.path.realpath(path)))
    sys.argv[:] = [program.target, *program.arguments]
    main.__dict__.update(__file__=path, __loader__=SourceFileLoader("__main__", path), __cached__=None)
    exec(compile(Path(path).read_bytes(), path, "exec", dont_inherit=True), main.__dict__)


def _run_package(program: Program) -> None:
    """Run a module, folder or archive by the function with which Python itself runs them."""
    is_module = program.kind == "module"
    _set_path(os.getcwd() if is_module else os.path.abspath(program.target))
    sys.argv[:] = ["-m" if is_module else program.target, *program.arguments]
    run_module_as_main = runpy._run_module_as_main  # type: ignore[attr-defined]
    run_module_as_main(program.target if is_module else "__main__", alter_argv=is_module)


def _set_path(first: str) -> None:
    """Replace the first entry of sys.path by the program's place, unless Python runs with -P."""
    if sys.flags.safe_path:
        return
    sys.path[0] = first


def hide_our_frames(error: BaseException) -> None:
    """Remove the frames of this package from the tracebacks of an error and of its causes."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _without_ours(one.__traceback__)
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting += [other for other in (one.__cause__, one.__context__, *members) if other is not None]


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    entries = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            entries.append(trace)
        trace = trace.tb_next
    cleaned: TracebackType | None = None
    for entry in reversed(entries):
        cleaned = TracebackType(cleaned, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return cleaned
