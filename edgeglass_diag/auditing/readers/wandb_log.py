"""W&B offline logs (``run-*.wandb``): a log of framed records, decoded by wandb's own messages.

The framing is LevelDB's (https://github.com/google/leveldb/blob/main/doc/log_format.md) behind a header of 7 bytes;
wandb 0.31 no longer ships a reader of it in Python.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeglass_diag.auditing.logged import Logged
from edgeglass_diag.auditing.readers.tree import flat, join, table_of
from edgeglass_diag.extras import extra
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import parsing, read_bytes
from edgeglass_diag.user_input.json_text import NoJsonError, parse_json
from edgeglass_diag.user_input.limits import TABLE_BYTES

_BLOCK = 32768
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read_wandb(path: Path) -> Logged:
    """The logged rows of an offline run, and its config as settings.

    Raises:
        UsageError: when wandb is not installed, or the file is none of its own.
    """
    with extra("wandb", f"{path}: a W&B log"):
        from wandb.proto import wandb_internal_pb2

    rows: list[dict[str, Any]] = []
    settings: dict[str, Any] = {}
    notes: list[str] = []
    ended = False
    for number, data in enumerate(_frames(path, notes), 1):
        record, where = wandb_internal_pb2.Record(), f"{path}: record {number}"
        with parsing(where, "one of W&B"):
            record.ParseFromString(data)
        ended = ended or record.HasField("exit")
        if record.HasField("history"):
            row: dict[str, Any] = {}
            for item in record.history.item:
                join(row, _item(item, where))
            rows.append(row)
        for item in (*record.config.update, *record.run.config.update):
            settings |= {key: value for key, value in _item(item, where).items() if not key.startswith("_wandb")}
    if not ended and not notes:  # cut between two records, which the framing cannot tell
        notes.append(f"{path}: no record of the run's exit: it still runs, was killed, or the file is cut off")
    if not rows:
        raise UsageError(f"{path}: expected logged rows, got a W&B log without any")
    return Logged(path.stem, str(path), (table_of("", rows),), settings, tuple(notes))


def _item(item: Any, where: str) -> dict[str, Any]:
    """Return a logged value by its key, or the values of a mapping by theirs."""
    try:
        value = parse_json(item.value_json, where)
    except NoJsonError:
        value = item.value_json
    return flat({"/".join(item.nested_key) or item.key: value})


def _frames(path: Path, notes: list[str]) -> Iterator[bytes]:
    """The records of the log; what a killed process left unfinished at the end is noted."""
    data = read_bytes(path, most=TABLE_BYTES)
    if data[:4] != b":W&B":
        raise UsageError(f"{path}: expected a W&B log (':W&B'), got a file that begins with {data[:4]!r}")
    at, whole = 7, b""
    while at < len(data):
        room = _BLOCK - at % _BLOCK
        if room < _HEADER.size:  # padding at the end of a block
            at += room
            continue
        if at + _HEADER.size > len(data):
            break
        check, length, kind = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + length]
        if len(payload) < length:
            break
        if zlib.crc32(bytes([kind]) + payload) != check:
            raise UsageError(f"{path}: byte {at}: expected a record with checksum {check:#x}, got other content")
        at += _HEADER.size + length
        whole = payload if kind in (_FULL, _FIRST) else whole + payload
        if kind in (_FULL, _LAST):
            yield whole
            whole = b""
    if whole or at < len(data):
        notes.append(f"{path}: cut off at byte {at}")
