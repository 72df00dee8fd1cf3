"""Data that do not fit into memory: one picture is decoded at a time, and of a parquet file one batch is held."""

import os
import zlib
from pathlib import Path

import pyarrow
from pyarrow import parquet

from edgeglass_models.data.features import cached_features
from edgeglass_models.data.reading import Source
from edgeglass_models.data.splits import pair_splits
from edgeglass_models.recipes.settings import DataSettings
from edgeglass_models.towers import load_tower
from tests.helpers.picture_files import png


def test_one_picture_is_open_at_a_time(tmp_path, monkeypatch):
    rows = [f"{k}.png,number {k}" for k in range(20)]
    for k in range(20):
        (tmp_path / f"{k}.png").write_bytes(png((k, 0, 0)))
    (tmp_path / "p.csv").write_text("\n".join(["image,caption", *rows]))
    tower, read = load_tower("tiny_clip"), []
    pairs = pair_splits(DataSettings(path=tmp_path / "p.csv"), whole=True)["all"]
    transform, pictures = tower.transform, type(pairs).pictures

    def transformed(picture):
        read.append("transformed")
        return transform(picture)

    def counted(self, indices):
        for picture in pictures(self, indices):
            read.append("decoded")
            yield picture

    monkeypatch.setattr(tower, "transform", transformed)
    monkeypatch.setattr(type(pairs), "pictures", counted)
    cached_features(tower, pairs, cache_dir=tmp_path / "cache", batch_size=8)
    assert read == ["decoded", "transformed"] * 20


MEGABYTE = 1 << 20
PICTURE, GROUP, GROUPS = 4 * MEGABYTE, 4, 12  # row groups of 16 MB, 192 MB in all


def heavy(size):
    """A picture of one pixel with a chunk of noise, which decoders skip and nothing compresses."""
    small, noise = png("red", (1, 1)), os.urandom(size)
    chunk = size.to_bytes(4, "big") + b"teSt" + noise + zlib.crc32(noise, zlib.crc32(b"teSt")).to_bytes(4, "big")
    return small[:-12] + chunk + small[-12:]


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_parquet_file_is_held_by_a_row_group_and_a_batch(tmp_path):
    """Twice a row group and a batch, for what the allocator keeps; far below the file, which reading ahead held."""
    schema = pyarrow.schema({"image": pyarrow.binary(), "caption": pyarrow.string()})
    with parquet.ParquetWriter(tmp_path / "p.parquet", schema, compression="none") as writer:
        for _ in range(GROUPS):
            columns = {"image": [heavy(PICTURE) for _ in range(GROUP)], "caption": ["one"] * GROUP}
            writer.write_table(pyarrow.table(columns, schema))
    del columns
    pyarrow.default_memory_pool().release_unused()
    batch, before = 16 * MEGABYTE, resident()
    limit = 2 * (GROUP * PICTURE + batch)
    assert 3 * limit <= (tmp_path / "p.parquet").stat().st_size
    above = [resident() - before for _ in Source(tmp_path / "p.parquet").rows()]
    assert len(above) == GROUP * GROUPS
    peak = max(above)
    assert peak < limit, f"{peak / MEGABYTE:.0f} MB above, expected below {limit / MEGABYTE:.0f}"
