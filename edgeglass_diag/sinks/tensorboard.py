"""TensorBoard: one event file with scalars, histograms, and findings as text."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeglass_diag.records import Finding, Reading, RunStatus
from edgeglass_diag.sinks.sink import About, Sink, counted, histograms, scalars, text_of, title_of

FOLDER = "tensorboard"
"""Of a live run, inside of its folder."""


class Into(Sink):
    """Writes an event file; TensorBoard keeps scalars in float32.

    Args:
        about: the run.
        out: folder of the event file; None for one inside of the run's.
    """

    def __init__(self, about: About, out: Path | None) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = about.folder / FOLDER if out is None else out
        self.place = str(folder)
        self._writer = EventFileWriter(str(folder))

    def readings(self, step: int, readings: Iterable[Reading]) -> None:
        """Write all of a window as one event."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        taken = list(readings)
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars(taken)]
        values += [Summary.Value(tag=name, histo=_histogram(each)) for name, each in histograms(taken).items()]
        self._add(step, values)

    def finding(self, finding: Finding) -> None:
        """Write a finding as text, under ``findings/CODE`` and its site."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata

        tag = f"findings/{finding.code}" + (f"/{finding.site}" if finding.site else "")
        text = f"**{finding.severity}: {title_of(finding)}**\n\n{text_of(finding)}"
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape)
        about = create_summary_metadata(display_name="", description="")
        self._add(finding.step, [Summary.Value(tag=tag, tensor=tensor, metadata=about)])
        self._writer.flush()

    def close(self, status: RunStatus) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, step: int, values: list[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))


def _histogram(values: list[float]) -> Any:
    import numpy as np
    from tensorboard.compat.proto.summary_pb2 import HistogramProto

    counts, edges = counted(values)
    array = np.asarray(values)
    return HistogramProto(
        min=array.min(),
        max=array.max(),
        num=array.size,
        sum=array.sum(),
        sum_squares=np.square(array).sum(),
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )
