"""Data that do not fit into memory: one picture is decoded at a time, and nothing is copied."""

import os
import subprocess
import sys

import pytest
from picture_files import png

from edgeglass_models.data.features import cached_features
from edgeglass_models.data.splits import pair_splits
from edgeglass_models.recipes.settings import DataSettings
from edgeglass_models.towers import load_tower

PROGRAM = """
import io, resource, sys
import pyarrow
from pathlib import Path
from PIL import Image
from pyarrow import parquet
from edgeglass_models.data.features import cached_features
from edgeglass_models.data.splits import pair_splits
from edgeglass_models.recipes.settings import DataSettings
from edgeglass_models.towers import load_tower

folder, count = Path(sys.argv[1]), 64
def picture(k):
    buffer = io.BytesIO()
    Image.new("RGB", (2500, 2000), (k, 0, 0)).save(buffer, "BMP")  # 15 MB each, encoded as well
    return buffer.getvalue()
schema = pyarrow.schema({"image": pyarrow.binary(), "caption": pyarrow.string()})
with parquet.ParquetWriter(folder / "big.parquet", schema) as writer:
    for start in range(0, count, 4):
        rows = {"image": [picture(k) for k in range(start, start + 4)], "caption": [f"n {k}" for k in range(4)]}
        writer.write_table(pyarrow.table(rows, schema=schema))
tower = load_tower("tiny_clip")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pairs = pair_splits(DataSettings(path=folder / "big.parquet"), whole=True)["all"]
features = cached_features(tower, pairs, cache_dir=folder / "cache", batch_size=32)
assert len(features.tokens) == count
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_memory_is_bounded_by_a_row_group_and_not_by_the_data(tmp_path):
    """64 pictures of 15 MB, 960 MB in all, 480 MB in a batch: far less is held."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HOME": str(tmp_path / "hub")}
    line = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 320
    assert not list((tmp_path / "hub").rglob("*.arrow")), "datasets keeps no copy"


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
