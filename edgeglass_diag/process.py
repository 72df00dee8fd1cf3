"""Facts about a training process: its environment, its commit, and how it ended. No torch."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from edgeglass_diag.records import Finding


class StopTraining(BaseException):
    """Raised in the training thread to end the training on a finding; not an error of the training."""

    @classmethod
    def on(cls, finding: Finding) -> StopTraining:
        """Return the exception for a finding."""
        return cls(f"stopped on {finding.code} {finding.name}: {finding.message}")


def environment() -> dict[str, str]:
    """Return the versions of Python and torch, and the platform, without importing torch."""
    try:
        torch = version("torch")
    except PackageNotFoundError:  # built from source and found on the path alone
        torch = "unknown"
    return {"python": platform.python_version(), "torch": torch, "platform": platform.platform()}


def git() -> dict[str, object]:
    """Return the commit of the working directory and whether anything is changed; empty outside of a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        dirty = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit.stdout.strip(), "dirty": bool(dirty.stdout.strip())}


def ending(error: BaseException | None) -> tuple[str, str | None]:
    """Return the status of a training that ended with ``error``, and its message if there is one.

    ``finished``: without an exception, or by ``sys.exit`` with success. ``failed``: by an error or an exit status
    other than 0. ``stopped``: from outside, by Ctrl-C or on a finding.

    Example:
        >>> ending(None), ending(SystemExit(0)), ending(SystemExit(3)), ending(KeyboardInterrupt())
        (('finished', None), ('finished', None), ('failed', 'SystemExit: 3'), ('stopped', 'KeyboardInterrupt'))
    """
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "finished", None
    # An exit that answers an error, as the workers of torch.multiprocessing make it, is that error's.
    cause = error.__context__ if isinstance(error, SystemExit) and error.__context__ is not None else error
    status = "failed" if isinstance(cause, Exception | SystemExit) else "stopped"
    return status, f"{type(cause).__name__}: {cause}".removesuffix(": ")
