"""Landlock: the kernel refuses this process and all that it starts to write outside of some folders.

By three system calls (https://docs.kernel.org/userspace-api/landlock.html), as the only binding that is published is a
development release, which takes a file for a folder. No torch.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping
from enum import IntFlag
from pathlib import Path

COMPLETE = 3
"""First version of the kernel's interface that covers truncation and moves between folders (Linux 6.2)."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on all architectures but alpha
_ASK_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38


class Access(IntFlag):
    """What a rule may allow; the values are the kernel's."""

    WRITE_FILE = 1 << 1
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14


OF_FILES = Access.WRITE_FILE | Access.TRUNCATE
"""What can be allowed for a file; the rest is for folders."""

ALL = Access(sum(Access))


class _Ruleset(ctypes.Structure):
    _fields_ = [("handled_access_fs", ctypes.c_uint64)]


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def version() -> int:
    """Return the version of the kernel's interface, 0 where there is none."""
    if platform.system() != "Linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    except OSError:
        return 0


def restrict(allowed: Mapping[Path, Access]) -> None:
    """Refuse writes of any kind from now on, but for what is allowed for a file or below a folder.

    It holds for this thread, for those that it starts and for their processes; nothing takes it back.

    Raises:
        OSError: if the kernel does not take it.
    """
    attributes = _Ruleset(ALL)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), size, ctypes.c_uint32(0))
    try:
        for place, access in allowed.items():
            _allow(ruleset, place, access)
        _libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, place: Path, access: Access) -> None:
    handle = os.open(place, os.O_PATH)
    try:
        rule = _Rule(access if place.is_dir() else access & OF_FILES, handle)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
