"""Binary logs for ``audit``: TensorBoard events and W&B offline logs, whole records with checksums around odd bytes."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

from tests.fuzz.inputs import Input
from tests.fuzz.logs import NAMES, columns, judged, log_reader, tree
from tests.fuzz.mutations import TOKENS, mutated


def _mask(data: bytes) -> bytes:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    return struct.pack("<I", masked_crc32c(data))


def event_frame(data: bytes) -> bytes:
    """Return a record of an event file: its length, its bytes, and the checksums of both."""
    length = struct.pack("<Q", len(data))
    return length + _mask(length) + data + _mask(data)


def _events(rows: Sequence[tuple[int, dict[str, float]]]) -> list[bytes]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    first = Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString()
    made = [
        Event(step=step, summary=Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in row.items()]))
        for step, row in rows
    ]
    return [first, *(event.SerializeToString() for event in made)]


def event_file(random: Random) -> Input:
    """Return scalars of event files; half of them with changed bytes inside of whole records."""
    single = {
        n: [struct.unpack("<f", struct.pack("<f", max(-3e38, min(3e38, x))))[0] for x in v]
        for n, v in columns(random).items()
    }
    held = {name: single[name] for name in single if name != "step"}
    rows = list(enumerate(dict(zip(held, row, strict=True)) for row in zip(*held.values(), strict=True)))
    payloads = _events(rows)
    expected: Any = {**held, "step": [float(step) for step, _ in rows]}
    if random.random() < 0.6:
        at = random.randrange(len(payloads))
        payloads[at] = mutated(random, payloads[at], payloads)
        expected = None
    content = b"".join(event_frame(data) for data in payloads)
    return Input({EVENTS: content}, ("audit", EVENTS), expected)


EVENTS = "events.out.tfevents.1"


def wandb_frames(records: Sequence[bytes]) -> bytes:
    """Return a W&B log of records: a header of 7 bytes, then LevelDB's framing."""
    out = bytearray(b":W&B\xbe\xee\x00")
    for data in records:
        left, first = data, True
        while True:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            part, left = left[: room - 7], left[room - 7 :]
            kind = 1 if first and not left else 2 if first else 3 if left else 4
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
            if not left:
                break
    return bytes(out)


def _wandb_record(row: dict[str, str]) -> bytes:
    from wandb.proto import wandb_internal_pb2 as pb

    record = pb.Record()
    for key, text in row.items():
        item = record.history.item.add()
        item.key, item.value_json = key, text
    return bytes(record.SerializeToString())


def wandb_log(random: Random) -> Input:
    """Return rows of a W&B log with their numbers; half of them with odd values or changed records."""
    held = columns(random)
    rows = [
        {name: json.dumps(v) for name, v in zip(held, row, strict=True)} for row in zip(*held.values(), strict=True)
    ]
    expected: Any = judged(held)
    kind = random.randrange(4)
    if kind == 0:
        random.choice(rows)[random.choice(NAMES)] = random.choice((*TOKENS, json.dumps(tree(random))))
        expected = None
    records = [_wandb_record({k: v.encode("utf-8", "replace").decode() for k, v in row.items()}) for row in rows]
    if kind == 1:
        at = random.randrange(len(records))
        records[at] = mutated(random, records[at], records)
        expected = None
    return Input({"run-a.wandb": wandb_frames(records)}, ("audit", "run-a.wandb"), expected)


def _seeds(make: Callable[[Random], Input]) -> Callable[[], list[Input]]:
    return cache(lambda: [make(Random(number)) for number in range(8)])


BINARY_LOGS = (
    log_reader("log: TensorBoard events", EVENTS, _seeds(event_file), event_file),
    log_reader("log: W&B offline", "run-a.wandb", _seeds(wandb_log), wandb_log),
)
