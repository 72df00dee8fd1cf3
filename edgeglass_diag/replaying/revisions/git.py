"""Calls of git that change nothing of the repository which they read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edgeglass_diag.errors import UsageError

_KEPT = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH"})
"""Variables of git that say nothing about one repository; others, as they are set in a hook, would name a wrong one."""

_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "core.splitIndex": "false",
    "submodule.recurse": "false",
    "diff.context": "0",  # inside of submodules the option does not count
    "diff.interHunkContext": "0",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Git LFS would download; its files are taken from the user's store as they are.
    "filter.lfs.clean": "",
    "filter.lfs.smudge": "",
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
}


class RevisionError(UsageError):
    """A revision that cannot be checked out or compared: one line that says what git said."""


def git(folder: Path, *words: str, given: bytes = b"") -> str:
    """Return what a git command prints, undecodable bytes as surrogates.

    No hook, file monitor, clean-up or download is started, and no lock is taken that git can do without.

    Args:
        folder: in which it is called.
        words: the command and its arguments.
        given: its standard input.

    Raises:
        RevisionError: if git is not installed, or fails.
    """
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    try:
        done = subprocess.run(
            ["git", *settings, *words], cwd=folder, input=given, capture_output=True, check=False, env=_environment()
        )
    except OSError as error:
        raise RevisionError(f"cannot call git in {folder}: {error.strerror or error}") from error
    if done.returncode:
        said = os.fsdecode(done.stderr).strip().removeprefix("fatal: ").removeprefix("error: ")
        raise RevisionError(f"git {words[0]} in {folder}: {said or f'exit status {done.returncode}'}")
    return os.fsdecode(done.stdout)


def listed(text: str) -> list[str]:
    """Return the entries of an output with ``-z``."""
    return [entry for entry in text.split("\0") if entry]


def _environment() -> dict[str, str]:
    own = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
    own |= {"GIT_DEFAULT_REF_FORMAT": "files"}
    return {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k in _KEPT} | own
