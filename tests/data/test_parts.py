"""Parts of one's own data: no picture in two of them, and each stays where it is when others come or go."""

import numpy as np
import pytest

from edgeglass_models.data.splits import pair_splits
from edgeglass_models.recipes.settings import DataSettings
from tests.helpers.picture_files import many, png, shuffled

N = 300


def write(folder, rows, name="pairs.csv"):
    for k, data in enumerate(many(N)):
        (folder / f"{k}.png").write_bytes(data)
    (folder / name).write_text("\n".join(["image,caption", *rows]))
    return folder / name


def captioned_twice():
    return [f"{k}.png,{word} {k}" for k in range(N) for word in ("first", "second")]


def parts(path, **settings):
    return pair_splits(DataSettings(path=path, **settings))


def numbers(part):
    return {int(text.split()[1]) for i in range(len(part)) for text in part.captions(i)}


def test_parts_are_disjoint_and_complete_and_of_the_expected_sizes(tmp_path):
    made = parts(write(tmp_path, captioned_twice()))
    found = [numbers(made[name]) for name in ("train", "val", "test")]
    assert sum(map(len, found)) == len(set.union(*found)) == N
    assert np.allclose([len(made[name]) / N for name in ("train", "val", "test")], [0.8, 0.1, 0.1], atol=0.05)
    assert all(len(part.captions(i)) == 2 for part in made.values() for i in range(len(part)))
    assert len({part.fingerprint for part in made.values()}) == 3


def test_copies_under_other_names_fall_into_the_same_part(tmp_path):
    path = write(tmp_path, captioned_twice())
    for k in range(N):
        (tmp_path / f"copy-{k}.png").write_bytes((tmp_path / f"{k}.png").read_bytes())
    lines = [*captioned_twice(), *(f"copy-{k}.png,third {k}" for k in range(N))]
    made = parts(write(tmp_path, shuffled(lines)))
    found = [numbers(made[name]) for name in ("train", "val", "test")]
    assert sum(map(len, found)) == len(set.union(*found)) == N
    assert [numbers(part) for part in parts(path).values()] == found


def test_a_picture_keeps_its_part_when_files_are_added_removed_or_renamed(tmp_path):
    before = numbers(parts(write(tmp_path, captioned_twice()))["test"])
    half = numbers(parts(write(tmp_path, shuffled(captioned_twice())[:N], "half.csv"))["test"])
    assert half < before
    (tmp_path / "moved").mkdir()
    for k in range(N):
        (tmp_path / f"{k}.png").rename(tmp_path / "moved" / f"{N - k}.png")
    rows = [f"moved/{N - k}.png,first {k}" for k in range(N)]
    (tmp_path / "moved.csv").write_text("\n".join(["image,caption", *rows]))
    assert numbers(parts(tmp_path / "moved.csv")["test"]) == before


def test_seeds_move_the_borders(tmp_path):
    path = write(tmp_path, captioned_twice())
    assert numbers(parts(path, seed=1)["test"]) != numbers(parts(path)["test"])
    assert numbers(parts(path, seed=1)["test"]) == numbers(parts(path, seed=1)["test"])


def test_reading_ends_when_every_part_is_full(tmp_path):
    path = write(tmp_path, [*captioned_twice(), "gone.png,last"])
    made = parts(path, train=30, val=3, test=3)
    assert [len(made[name]) for name in ("train", "val", "test")] == [30, 3, 3]
    assert numbers(made["train"]) < numbers(parts(write(tmp_path, captioned_twice()))["train"])
    with pytest.raises(ValueError, match="missing picture"):
        parts(write(tmp_path, [*captioned_twice(), "gone.png,last"]))


def test_too_few_pictures_for_a_part(tmp_path):
    (tmp_path / "1.png").write_bytes(png("red"))
    (tmp_path / "one.csv").write_text("image,caption\n1.png,one\n")
    with pytest.raises(ValueError, match=r"one\.csv: no usable picture for \w+ in 1 rows$"):
        parts(tmp_path / "one.csv")


def test_scenes_have_no_whole():
    with pytest.raises(ValueError, match=r"split 'all': is for own data \(data.path\); scenes have train, val, test"):
        pair_splits(DataSettings(), whole=True)
