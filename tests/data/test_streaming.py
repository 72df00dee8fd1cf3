"""Data that do not fit into memory: one picture is decoded at a time."""

from picture_files import png

from edgeglass_models.data.features import cached_features
from edgeglass_models.data.splits import pair_splits
from edgeglass_models.recipes.settings import DataSettings
from edgeglass_models.towers import load_tower


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
