"""embedding-atlas: ``embeddings.parquet`` with a row for each embedding, which ``embedding-atlas`` opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.records import RunStatus
from edgeglass_diag.sinks.sink import About, Sink

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "embeddings.parquet"


class Into(Sink):
    """Writes the embeddings of all steps at which a run has kept some.

    Columns: ``step``; ``pair``, the place in the batch; ``side``, image or text; ``caption`` of the pair, null where
    none was kept; ``embedding``; ``cosine`` to the partner; ``rank``, how many others of that side are at least as near
    as the partner, null where the cosine is NaN; ``is_finite``, without which a row has no place in a projection.

    Args:
        about: the run.
        out: folder, made if there is none.
    """

    def __init__(self, about: About, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._file = out / FILE
        self.place = f"{self._file} (embedding-atlas {self._file} --vector embedding)"
        self._tables: list[Any] = []

    def embeddings(
        self, step: int, image: NDArray[np.float32], text: NDArray[np.float32], captions: Sequence[str] = ()
    ) -> None:
        """Keep the rows of both sides."""
        self._tables += [_table(step, "image", image, text, captions), _table(step, "text", text, image, captions)]

    def close(self, status: RunStatus) -> None:
        """Write the file."""
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.concat_tables(self._tables), self._file)


def _table(step: int, side: str, own: NDArray[np.float32], other: NDArray[np.float32], captions: Sequence[str]) -> Any:
    import numpy as np
    import pyarrow as pa

    pairs = np.arange(len(own))
    cosines = _normal(own) @ _normal(other).T
    partner = np.diagonal(cosines)
    vectors = pa.ListArray.from_arrays(np.arange(len(own) + 1) * own.shape[1], own.reshape(-1))
    return pa.table(
        {
            "step": pa.array(np.full(len(own), step)),
            "pair": pa.array(pairs),
            "side": pa.array([side] * len(own)),
            "caption": pa.array(captions, pa.string()) if captions else pa.nulls(len(own), pa.string()),
            "embedding": vectors,
            "cosine": pa.array(partner),
            "rank": pa.array((cosines >= partner[:, None]).sum(1) - 1, mask=~np.isfinite(partner)),
            "is_finite": pa.array(np.isfinite(own).all(1)),
        }
    )


def _normal(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
