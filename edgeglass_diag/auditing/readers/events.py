"""Scalars of TensorBoard event files, through TensorBoard's own loader of the file as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeglass_diag.auditing.logged import Logged, Table
from edgeglass_diag.auditing.readers.tree import table_of
from edgeglass_diag.extras import extra
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import open_file, parsing
from edgeglass_diag.user_input.limits import TABLE_BYTES

_EXPECTED = "an event file of TensorBoard"


def read_events(paths: Sequence[Path], *, name: str) -> Logged:
    """The scalars of event files as one table, a row for each step; a later value of a step replaces an earlier one.

    Values were stored in float32. How many were replaced, as after a restart, is noted.

    Raises:
        UsageError: when tensorboard is not installed, or a file is none of its own.
    """
    rows: dict[int, dict[str, float]] = {}
    notes: list[str] = []
    replaced = 0
    for path in paths:
        for step, tag, value in _scalars(path, notes):
            row = rows.setdefault(step, {"step": float(step)})
            replaced += tag in row
            row[tag] = value
    if not rows:
        raise UsageError(f"{paths[0]}: expected scalars of TensorBoard, got an event file without any")
    source = paths[0].parent if len(paths) > 1 else paths[0]
    if replaced:
        notes.append(f"{source}: {replaced} values were written again at the same step; the later ones are read")
    table = table_of("", [rows[step] for step in sorted(rows)])
    return Logged(name, str(source), (Table("", _step_last(table)),), notes=tuple(notes))


def _step_last(table: Table) -> dict[str, tuple[float | None, ...]]:
    columns = dict(table.columns)
    return {**columns, "step": columns.pop("step")}


def _scalars(path: Path, notes: list[str]) -> Iterator[tuple[int, str, float]]:
    with extra("tensorboard", f"{path}: an event file"):
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
        from tensorboard.compat.tensorflow_stub.errors import DataLossError
    from google.protobuf.message import DecodeError

    with open_file(path, most=TABLE_BYTES):
        pass
    events = 0
    with parsing(path, _EXPECTED):
        try:
            for event in LegacyEventFileLoader(str(path)).Load():
                events += 1
                for value in event.summary.value:
                    single = _single(value)
                    if single is not None:
                        yield event.step, value.tag, single
        except (DataLossError, DecodeError):
            if not events:
                raise
            notes.append(f"{path}: cut off after {events} events")
    if not events:
        raise UsageError(f"{path}: expected {_EXPECTED}, got no event")


def _single(value: Any) -> float | None:
    """Return a scalar; None for anything else, whose tensor is not made: its shape may name any size."""
    from tensorboard.util.tensor_util import make_ndarray

    if value.metadata.plugin_data.plugin_name not in ("", "scalars"):
        return None
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not value.HasField("tensor") or any(dim.size != 1 for dim in value.tensor.tensor_shape.dim):
        return None
    array = make_ndarray(value.tensor)
    return float(array.item()) if array.size == 1 and array.dtype.kind in "fiu" else None
