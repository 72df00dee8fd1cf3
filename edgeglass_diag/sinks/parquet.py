"""Parquet: ``signals.parquet`` and ``findings.parquet`` in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgeglass_diag.records import Finding, Reading, RunStatus
from edgeglass_diag.sinks.rows import FINDINGS, SIGNALS, STEPS, Row, finding_row, signal_rows
from edgeglass_diag.sinks.sink import About, Sink

ROWS = 2**18
"""Rows of a row group."""


class Into(Sink):
    """Writes both tables; they can be read once it is closed.

    Args:
        about: the run.
        out: folder, made if there is none.
    """

    def __init__(self, about: About, out: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        out.mkdir(parents=True, exist_ok=True)
        self.place = str(out)
        types = (pa.int64(), pa.string(), pa.string(), pa.int32(), pa.float64())
        self._schema = pa.schema(list(zip(SIGNALS, types, strict=True)))
        self._writer = parquet.ParquetWriter(out / "signals.parquet", self._schema)
        self._file = out / "findings.parquet"
        self._rows: list[Row] = []
        self._findings: list[dict[str, object]] = []

    def readings(self, step: int, readings: Iterable[Reading]) -> None:
        """Keep rows, and write them where there are enough for a group."""
        self._rows.extend(signal_rows(step, readings))
        if len(self._rows) >= ROWS:
            self._flush()

    def finding(self, finding: Finding) -> None:
        """Keep a finding."""
        self._findings.append(finding_row(finding))

    def close(self, status: RunStatus) -> None:
        """Write the rest."""
        import pyarrow as pa
        from pyarrow import parquet

        self._flush()
        self._writer.close()
        schema = pa.schema([(name, pa.int64() if name in STEPS else pa.string()) for name in FINDINGS])
        parquet.write_table(pa.Table.from_pylist(self._findings, schema), self._file)

    def _flush(self) -> None:
        import pyarrow as pa

        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(SIGNALS)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=self._schema))
        self._rows = []
