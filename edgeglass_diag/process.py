"""Facts of a training process: versions, git commit, and how it ended. No torch."""

from __future__ import annotations

import contextlib
import functools
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import ParamSpec

from edgeglass_diag.errors import printable
from edgeglass_diag.records import Finding, RunStatus

P = ParamSpec("P")


class StopTraining(BaseException):
    """Raised in the training thread to end the training on request; not an error."""

    @classmethod
    def on(cls, finding: Finding) -> StopTraining:
        """Return the exception for a finding of ``--stop-on``."""
        return cls(f"stopped on {finding.code} {finding.name}: {finding.message}")

    @classmethod
    def after(cls, steps: int) -> StopTraining:
        """Return the exception for a limit of optimizer steps."""
        return cls(f"stopped after {steps} optimizer steps")


def environment() -> dict[str, str]:
    """Return the versions of Python and torch, and the platform; torch is not imported."""
    try:
        torch = version("torch")
    except PackageNotFoundError:  # built from source, importable without metadata
        torch = "unknown"
    return {"python": platform.python_version(), "torch": torch, "platform": platform.platform()}


def git() -> dict[str, object]:
    """Return the commit of the working directory and whether files differ from it; empty outside of a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, timeout=5, check=True)
        dirty = subprocess.run(["git", "status", "--porcelain"], capture_output=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit.stdout.decode(errors="replace").strip(), "dirty": bool(dirty.stdout.strip())}


def ending(error: BaseException | None) -> tuple[RunStatus, str | None]:
    """Return how a training ended, and the text of its error if there is one.

    ``finished``: without an exception, or by ``sys.exit`` with status 0. ``failed``: by an error, or an exit status
    other than 0. ``stopped``: by Ctrl-C or on a finding.

    Args:
        error: the exception that ended the training, None without one.

    Example:
        >>> [str(ending(error)[0]) for error in (None, SystemExit(0), SystemExit(3), KeyboardInterrupt())]
        ['finished', 'finished', 'failed', 'stopped']
        >>> ending(SystemExit(3))[1]
        'SystemExit: 3'
    """
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return RunStatus.FINISHED, None
    # Workers of torch.multiprocessing call sys.exit while handling an error: report that error.
    cause = error.__context__ if isinstance(error, SystemExit) and error.__context__ is not None else error
    status = RunStatus.FAILED if isinstance(cause, Exception | SystemExit) else RunStatus.STOPPED
    return status, error_text(cause, most=10_000)


def error_text(error: BaseException, *, most: int = 300) -> str:
    r"""Return an error in one printable line of at most ``most`` characters, whatever text it repeats.

    >>> error_text(ValueError("no")), error_text(KeyError()), error_text(ValueError("\x00"))
    ('ValueError: no', 'KeyError', 'ValueError: \\x00')
    """
    name = type(error).__name__
    try:
        return printable(f"{name}: {' '.join(str(error).split())}".removesuffix(": "))[:most]
    except Exception:  # the __str__ of an exception of the user's
        return name


def harmless(call: Callable[P, None]) -> Callable[P, None]:
    """Return a function that says what fails in ``call`` on stderr and never raises an Exception."""

    @functools.wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            call(*args, **kwargs)
        except Exception as error:
            say("the training goes on, but may not be watched", error)

    return guarded


def say(text: str, error: BaseException | None = None) -> None:
    """Print a line to stderr, which a program may have closed or not have at all; never raise an Exception.

    Args:
        text: what is said.
        error: why, whose text follows it.
    """
    with contextlib.suppress(Exception):
        if sys.stderr is not None:
            why = "" if error is None else f": {error_text(error)}"
            print(f"edgeglass-diag: {text}{why}", file=sys.stderr, flush=True)
