"""The environment variables of a program, as far as a record keeps them. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|PRIVATE|CERT|DSN|WEBHOOK|SIGNATURE", re.IGNORECASE)
_ADDRESS_WITH_PASSWORD = re.compile(r"://[^/\s]*@")
_OF_THE_TERMINAL = re.compile(
    r"_|PWD|OLDPWD|SHLVL|TERM.*|COLORTERM|COLUMNS|LINES|LS_COLORS|PS\d|PROMPT_.*|SSH_.*|TMUX.*|STY|DISPLAY|WAYLAND_.*|"
    r"XDG_.*|DBUS_.*|GPG_.*|WINDOWID|VTE_.*|KONSOLE_.*|VSCODE_.*|GIT_.*|EDITOR|VISUAL|PAGER|LESS.*|HIST.*|MAIL|LOGNAME|"
    r"USER|USERNAME|HOSTNAME|INVOCATION_ID|JOURNAL_STREAM|EDGEGLASS_DIAG.*"
)
"""What differs between two shells and not between two trainings."""

_MOST = 1000
"""Longest value that is kept, in characters."""


def recorded_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that a record keeps, so that the program can be run again as it was run.

    Left out are those of terminal and login, those whose name or value may hold a secret, and values above 1000
    characters.

    >>> recorded_variables({"LR": "2e-3", "WANDB_API_KEY": "x", "TERM": "xterm", "DB": "postgres://me:pw@host/"})
    {'LR': '2e-3'}
    """
    return {name: value for name, value in sorted(environment.items()) if _is_kept(name, value)}


def _is_kept(name: str, value: str) -> bool:
    if _SECRET.search(name) or _OF_THE_TERMINAL.fullmatch(name):
        return False
    return len(value) <= _MOST and not _ADDRESS_WITH_PASSWORD.search(value)
