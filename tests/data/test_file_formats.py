"""Every format, written as its own library writes it, gives the same pictures with the same captions."""

import tarfile

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from edgeglass_models.data.splits import pair_splits
from edgeglass_models.recipes.settings import DataSettings
from tests.helpers import picture_files
from tests.helpers.picture_files import (
    CAPTIONS,
    FORMATS,
    png,
    write_coco,
    write_csv,
    write_parquet_of_bytes,
    write_pictures,
    write_shard,
)


def whole(path, **settings):
    return pair_splits(DataSettings(path=path, **settings), whole=True)["all"]


def content(pairs):
    pictures = pairs.pictures(range(len(pairs)))
    return {picture.getpixel((0, 0)): set(pairs.captions(i)) for i, picture in enumerate(pictures)}


def expected():
    return {Image.new("RGB", (1, 1), name).getpixel((0, 0)): set(texts) for name, texts in CAPTIONS.items()}


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_pictures_and_captions_arrive(tmp_path, write):
    pairs = whole(write(tmp_path))
    assert len(pairs) == len(CAPTIONS)
    assert content(pairs) == expected()
    for i in (0, 2, -1):
        picture, text = pairs[i]
        assert (picture.mode, picture.size) == ("RGB", (8, 6))
        assert text in content(pairs)[picture.getpixel((0, 0))]


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_content_alone_identifies_the_data(tmp_path, write):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    before = whole(write(tmp_path / "one")).fingerprint
    assert whole(write(tmp_path / "other")).fingerprint == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(picture_files.CAPTIONS, "red", ("a red one", "something else"))
        (tmp_path / "third").mkdir()
        assert whole(write(tmp_path / "third")).fingerprint != before


def test_a_changed_picture_of_equal_size_and_time_is_other_data(tmp_path):
    import os

    path = write_csv(tmp_path)
    before, file = whole(path).fingerprint, tmp_path / "pictures" / "red.png"
    stat = file.stat()
    bitmap = bytearray(file.read_bytes())
    file.write_bytes(bitmap[:-12] + bytes(12))  # the end chunk: Pillow still reads the pixels
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert whole(path).fingerprint != before


def test_patterns_folders_and_names_with_brackets(tmp_path):
    picture_files.write_shards(tmp_path)
    by_folder, by_pattern = whole(tmp_path), whole(tmp_path / "shard-*.tar")
    assert by_folder.fingerprint == by_pattern.fingerprint == whole(tmp_path / "shard-00{0,1}.tar").fingerprint
    odd = write_parquet_of_bytes(tmp_path).rename(tmp_path / "part [1].parquet")
    assert len(whole(odd)) == 3


def test_captions_of_pixmo_in_a_column_of_choice(tmp_path):
    write_pictures(tmp_path)
    header = "image_url,image,caption,transcripts"
    (tmp_path / "cap.csv").write_text(f"{header}\nhttps://x/1.jpg,red.png,a long one,spoken\n")
    assert whole(tmp_path / "cap.csv").captions(0) == ("a long one",)
    assert whole(tmp_path / "cap.csv", caption_column="transcripts").captions(0) == ("spoken",)


def test_the_folder_of_coco_images_can_be_set(tmp_path):
    path = write_coco(tmp_path, annotations="elsewhere/below/notes.json")
    with pytest.raises(ValueError, match=r"notes\.json: expected red\.png in one of .*: set data\.images"):
        whole(path)
    assert content(whole(path, images=tmp_path / "val2017")) == expected()


def test_equal_pictures_are_one_with_the_captions_of_all(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "copy.png").write_bytes(png("red"))
    (tmp_path / "p.csv").write_text("image,caption\nred.png,one\nblue.png,two\ncopy.png,three\n./red.png,four\n")
    pairs = whole(tmp_path / "p.csv")
    assert [pairs.captions(i) for i in range(len(pairs))] == [("one", "three", "four"), ("two",)]


def test_data_that_change_under_way_are_noticed(tmp_path):
    path = write_csv(tmp_path)
    pairs = whole(path)
    (tmp_path / "pictures" / "green.png").write_bytes(png("black"))
    with pytest.raises(ValueError, match=r"pairs\.csv line 4: is another picture than before: the data changed"):
        list(pairs.pictures(range(3)))
    (tmp_path / "pictures" / "red.png").unlink()
    with pytest.raises(ValueError, match=r"line 2: the data changed while they were read: .*red\.png"):
        pairs[0]


@pytest.mark.parametrize("suffix", [".parquet", ".tar"])
def test_a_file_of_many_that_changes_under_way_is_noticed(tmp_path, suffix):
    def write(*colours):
        if suffix == ".tar":
            return write_shard(tmp_path / "p.tar", [{"png": png(name), "txt": name} for name in colours])
        table = pyarrow.table({"image": [png(name) for name in colours], "caption": colours})
        parquet.write_table(table, tmp_path / "p.parquet", row_group_size=1)
        return tmp_path / "p.parquet"

    pairs = whole(write("red", "green", "blue"))
    write("red", "black", "blue")
    assert pairs[2][1] == "blue"
    with pytest.raises(ValueError, match="is another picture than before: the data changed"):
        pairs[1]
    write("red")
    with pytest.raises(ValueError, match="the data changed while they were read"):
        pairs[2]


def test_one_pair_is_read_without_what_stands_before_it(tmp_path):
    """Bytes before the wanted row group or member may be damaged, and are not looked at."""
    table = pyarrow.table({"image": [png(name) for name in CAPTIONS], "caption": list(CAPTIONS)})
    parquet.write_table(table, tmp_path / "p.parquet", row_group_size=1)
    shard = write_shard(tmp_path / "p.tar", [{"png": png(name), "txt": name} for name in CAPTIONS])
    with tarfile.open(shard) as archive:
        first = archive.getmembers()[0].offset_data
    for path, start in ((tmp_path / "p.parquet", 4), (shard, first)):
        pairs, content = whole(path), path.read_bytes()
        path.write_bytes(content[:start] + bytes(60) + content[start + 60 :])
        assert pairs[2][1] == "blue"
        with pytest.raises(ValueError, match="the data changed while they were read"):
            pairs[0]
