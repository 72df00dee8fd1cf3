"""Scalars of TensorBoard event files, through TensorBoard's own loader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeglass_diag.auditing.logged import Logged, Table
from edgeglass_diag.records import UsageError


def read_events(paths: Sequence[Path], *, name: str) -> Logged:
    """The scalars of event files as one table, a row for each step; a later value of a step replaces an earlier one.

    Values were stored in float32.

    Raises:
        UsageError: when tensorboard is not installed, or a file is none of its own.
    """
    rows: dict[int, dict[str, float]] = {}
    notes: list[str] = []
    for path in paths:
        for step, tag, value in _scalars(path, notes):
            rows.setdefault(step, {})[tag] = value
    if not rows:
        raise UsageError(f"{paths[0]}: expected scalars of TensorBoard, got an event file without any")
    tags = dict.fromkeys(tag for row in rows.values() for tag in row)
    columns: dict[str, tuple[float | None, ...]] = {
        tag: tuple(rows[step].get(tag) for step in sorted(rows)) for tag in tags
    }
    columns["step"] = tuple(float(step) for step in sorted(rows))
    return Logged(name, str(paths[0].parent if len(paths) > 1 else paths[0]), (Table("", columns),), notes=tuple(notes))


def _scalars(path: Path, notes: list[str]) -> Iterator[tuple[int, str, float]]:
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.compat.tensorflow_stub.errors import DataLossError
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError:
        raise UsageError(
            f"{path}: event files are read by TensorBoard, which is not installed: pip install tensorboard"
        ) from None
    from google.protobuf.message import DecodeError

    events = 0
    try:
        for event in EventFileLoader(str(path)).Load():
            events += 1
            for value in event.summary.value:
                single = _single(value, make_ndarray)
                if single is not None:
                    yield event.step, value.tag, single
    except (DataLossError, DecodeError) as error:
        if not events:
            raise UsageError(f"{path}: expected an event file of TensorBoard, got {error}") from None
        notes.append(f"{path}: cut off after {events} events")
    if not events:
        raise UsageError(f"{path}: expected an event file of TensorBoard, got no event")


def _single(value: Any, make_ndarray: Any) -> float | None:
    if value.metadata.plugin_data.plugin_name not in ("", "scalars") or not value.HasField("tensor"):
        return None
    array = make_ndarray(value.tensor)
    return float(array.item()) if array.size == 1 and array.dtype.kind in "fiu" else None
