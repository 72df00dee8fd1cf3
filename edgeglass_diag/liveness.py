"""Whether the process that writes a record is alive: by host, boot, process start and, from afar, a heartbeat."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

BEAT = 5.0
"""Seconds at the latest from one sign of life to the next."""

SILENCE = 120.0
"""Seconds without a sign of life after which a process that cannot be looked up counts as dead. A record gives one
every ``BEAT`` seconds at the latest; machines that share a disk may disagree on the time by a minute."""

_START_TOLERANCE = 2.0
"""Seconds; the start of a process is known in hundredths since the boot, whose time moves when the clock is set."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """What tells a process from all others.

    Attributes:
        host: name of the machine or container.
        boot: id of the machine's boot, empty where the system has none.
        namespace: of process ids, empty where the system has none; that of a container is its own.
        pid: process id.
        started: when the process started, in seconds since 1970.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: float

    @classmethod
    def own(cls) -> ProcessIdentity:
        """Return the identity of this process."""
        pid = os.getpid()
        return cls(platform.node(), _boot(), _namespace(), pid, psutil.Process(pid).create_time())

    @property
    def is_of_this_machine(self) -> bool:
        """Return whether the process can be looked up here."""
        return (self.host, self.boot, self.namespace) == (platform.node(), _boot(), _namespace())

    def as_facts(self) -> dict[str, object]:
        """Return the fields for ``run.json``."""
        return asdict(self)


def is_alive(identity: ProcessIdentity, *, silent_for: float | None) -> bool:
    """Return whether a process lives.

    One of this machine is looked up; a zombie and another process that has its id by now are none. One of another
    machine or container lives as long as it gives signs of life.

    Args:
        identity: of the process.
        silent_for: seconds since its last sign of life, None where it never gave one.
    """
    if not identity.is_of_this_machine:
        return silent_for is not None and silent_for < SILENCE
    found = _look_up(identity.pid)
    return found is not None and abs(found - identity.started) <= _START_TOLERANCE


def has_lived_since(pid: int, moment: float | None) -> bool:
    """Return whether a process of this machine runs that started before ``moment`` (seconds since 1970).

    For records of older versions, which know nothing but the process id and when they were begun.
    """
    found = _look_up(pid)
    return found is not None and (moment is None or found <= moment + _START_TOLERANCE)


def is_running(pid: int) -> bool:
    """Return whether a process of this machine runs under this id."""
    return _look_up(pid) is not None


def identity_of(facts: Mapping[str, object]) -> ProcessIdentity:
    """Return the identity that ``as_facts`` wrote.

    Raises:
        ValueError: if a fact is missing or of another type.
    """
    try:
        host, boot, namespace = (str(facts[name]) for name in ("host", "boot", "namespace"))
        return ProcessIdentity(host, boot, namespace, int(str(facts["pid"])), float(str(facts["started"])))
    except KeyError as error:
        raise ValueError(f"no {error} of the process that wrote the record") from error


def _look_up(pid: int) -> float | None:
    """Return when the process with this id started; None where there is none, or only its exit status is left."""
    try:
        process = psutil.Process(pid)
        return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else process.create_time()
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return None
    except psutil.AccessDenied:
        return 0.0


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
