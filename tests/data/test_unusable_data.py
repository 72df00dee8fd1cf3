# ruff: noqa: E501  (a table of cases, one in a line)
"""Unusable rows are named with file and row, counted, and refused or skipped by data.on_error."""

import json
import re
import tarfile

import pyarrow
import pytest
from pyarrow import parquet

from edgeglass_models.data.splits import pair_splits
from edgeglass_models.recipes.settings import DataSettings
from tests.helpers.picture_files import (
    CAPTIONS,
    many,
    png,
    write_coco,
    write_parquet_of_bytes,
    write_pictures,
    write_shard,
)


def whole(path, **settings):
    return pair_splits(DataSettings(path=path, **settings), whole=True)["all"]


def refusal(path, **settings):
    with pytest.raises(ValueError, match=re.escape(str(path).split("*")[0])) as caught:
        whole(path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table(folder, *rows, header="image,caption"):
    write_pictures(folder)
    (folder / "p.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "p.csv"


def jsonl(folder, *rows):
    write_pictures(folder)
    (folder / "p.jsonl").write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return folder / "p.jsonl"


def arrow(folder, images, captions):
    parquet.write_table(pyarrow.table({"image": images, "caption": captions}), folder / "p.parquet")
    return folder / "p.parquet"


def shard(folder, *samples):
    return write_shard(folder / "s.tar", samples)


def numbers(folder):
    """A folder with one shard of texts and a second one where json brings numbers."""
    write_shard(folder / "b.tar", [{"png": png("red"), "json": {"caption": "red"}}])
    write_shard(folder / "a.tar", [{"png": data, "json": {"caption": 15}} for data in many(2)])
    return folder / "*.tar"


GOOD = "red.png,red"
FAULTS = {
    "missing file": (lambda f: table(f, GOOD, "gone.png,x"), r"1 x missing picture \(first: .*p.csv line 3: no file .*gone.png\)"),
    "a folder": (lambda f: table(f, GOOD, ".,x"), r"1 x unreadable picture \(first: .*line 3: .*: Is a directory\)"),
    "no picture": (lambda f: table(f, GOOD, "p.csv,x"), r"1 x unreadable picture \(first: .*line 3: .*p.csv: not a picture\)"),
    "no picture named": (lambda f: table(f, GOOD, ",x", " ,y"), r"2 x row without a picture \(first: .*line 3\)"),
    "an address": (lambda f: table(f, GOOD, "https://x/1.jpg,x"), "picture at an address .*line 3: 'https://x/1.jpg'; .*not downloaded"),
    "white space": (lambda f: table(f, GOOD, "blue.png, \t"), r"1 x empty caption \(first: .*line 3: ' \\t'\)"),
    "short row": (lambda f: table(f, GOOD, "blue.png"), r"1 x empty caption \(first: .*line 3: none\)"),
    "comma without quotes": (lambda f: table(f, GOOD, "blue.png,a blue, plain"), "row with more fields than columns .*line 3: .*needs quotes"),
    "lines are those of the file": (lambda f: table(f, 'red.png,"red\nred"', "gone.png,x"), "line 4: no file"),
    "number for a text": (lambda f: jsonl(f, {"image": "red.png", "caption": "r"}, {"image": "blue.png", "caption": 7}), "caption that is no text .*line 2: int 7"),
    "empty list": (lambda f: jsonl(f, {"image": "red.png", "caption": ["r", ""]}, {"image": "blue.png", "caption": []}), r"2 x empty caption \(first: .*line 1: ''\)"),
    "no json": (lambda f: jsonl(f, {"image": "red.png", "caption": "r"}, '{"image": '), "line that is no JSON .*line 2"),
    "no object": (lambda f: jsonl(f, {"image": "red.png", "caption": "r"}, "[1]"), "line that is no JSON object .*line 2: list"),
    "a key is missing in one line": (lambda f: jsonl(f, {"image": "red.png", "caption": "r"}, {"caption": "x"}), "row without a picture .*line 2"),
    "null in parquet": (lambda f: arrow(f, [png("red"), None], ["r", "x"]), "row without a picture .*p.parquet row 2"),
    "no caption in parquet": (lambda f: arrow(f, [png("red"), png("blue")], ["r", None]), "empty caption .*row 2: none"),
    "numbers for captions": (numbers, "2 x caption that is no text .*a.tar sample 0000: int 15"),
    "bytes of no picture": (lambda f: arrow(f, [png("red"), b"\xff\xd8\xff"], ["r", "x"]), "unreadable picture .*row 2: not a picture"),
    "no text in a shard": (lambda f: shard(f, {"png": png("red"), "txt": "r"}, {"png": png("blue")}), "sample without a caption .*s.tar sample 0001: has png"),
    "no picture in a shard": (lambda f: shard(f, {"png": png("red"), "txt": "r"}, {"txt": "x"}), "sample without a picture .*sample 0001: has txt"),
    "no UTF-8 in a shard": (lambda f: shard(f, {"png": png("red"), "txt": "r"}, {"png": png("blue"), "txt": b"bl\xe5"}), "caption that is unreadable .*sample 0001: 'utf-8'"),
    "no json in a shard": (lambda f: shard(f, {"png": png("red"), "txt": "r"}, {"png": png("blue"), "json": b"{"}), "caption that is unreadable .*sample 0001"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_refused_by_default_left_out_on_request(tmp_path, fault):
    make, account = FAULTS[fault]
    path = make(tmp_path)
    message = refusal(path)
    assert re.search(account, message), message
    assert message.startswith(f"{path}: cannot use ")
    assert message.endswith("; data.on_error=skip leaves them out")
    with pytest.warns(UserWarning, match=account):
        assert len(whole(path, on_error="skip")) == 1


def test_all_kinds_are_counted_at_once(tmp_path):
    path = table(tmp_path, GOOD, "gone.png,x", "blue.png,", "lost.png,x", "green.png,")
    message = refusal(path)
    assert "cannot use 2 x missing picture (first: " in message
    assert "; 2 x empty caption (first: " in message


def test_a_missing_column_names_what_is_there(tmp_path):
    path = table(tmp_path, "red.png,x", header="picture,words")
    assert refusal(path).endswith("expected a column image, or another named by data.image_column; got picture, words")
    assert len(whole(path, image_column="picture", caption_column="words")) == 1
    message = refusal(path, image_column="bild", caption_column="words")
    assert message.endswith("expected a column 'bild' (data.image_column); got picture, words")
    assert "got an empty file" in refusal(table(tmp_path, header=""))


def test_image_addresses_raise_before_anything_is_read(tmp_path):
    path = tmp_path / "pixmo.parquet"
    parquet.write_table(pyarrow.table({"image_url": ["https://x/1.jpg"], "caption": ["x"]}), path)
    assert "got image_url, caption; pictures at an address are not downloaded: fetch them first" in refusal(path)


def test_several_columns_that_may_be_meant_are_not_guessed_from(tmp_path):
    path = table(tmp_path, "red.png,a,b", header="image,text,title")
    assert "several columns may hold the caption: text, title; set data.caption_column" in refusal(path)


def test_files_that_are_not_what_they_are_called(tmp_path):
    for name in ("x.parquet", "x.arrow", "x.tar", "x.tar.gz", "x.json", "x.txt"):
        (tmp_path / name).write_bytes(b"\xff none of it")
        assert str(tmp_path / name) in refusal(tmp_path / name)
    assert "no such file or folder" in refusal(tmp_path / "gone.csv")
    assert "no such file or folder" in refusal(tmp_path / "gone-*.tar")
    (tmp_path / "empty").mkdir()
    assert "expected metadata.csv or metadata.jsonl" in refusal(tmp_path / "empty")
    (tmp_path / "latin.csv").write_bytes("image,caption\na.png,blå\n".encode("latin-1"))
    assert "expected text in UTF-8, or in UTF-16 with a byte order mark, got 'utf-8' codec" in refusal(
        tmp_path / "latin.csv"
    )


def shard_of_twenty(folder):
    path = write_shard(folder / "s.tar", [{"png": data, "txt": f"{k}"} for k, data in enumerate(many(20))])
    with tarfile.open(path) as archive:
        member = archive.getmembers()[20]
    assert member.name.startswith("0010.")
    return path, member


@pytest.mark.parametrize(("where", "whole_samples"), [("data", 10), ("header", 9), ("end marks", 19)])
def test_a_shard_that_is_cut_off(tmp_path, where, whole_samples):
    """Python's own tarfile ends silently where a header is cut or the end marks are missing."""
    path, member = shard_of_twenty(tmp_path)
    data = path.read_bytes()
    assert len(whole(path)) == 20
    end = -(-len(data.rstrip(b"\0")) // 512) * 512
    path.write_bytes(data[: {"data": member.offset_data + 30, "header": member.offset + 100, "end marks": end}[where]])
    message = refusal(path)
    account = f"1 x cut-off or damaged shard (first: {path}: after {whole_samples} whole samples: "
    assert account in message
    with pytest.warns(UserWarning, match=re.escape(account)):
        assert len(whole(path, on_error="skip")) == whole_samples


def test_a_header_destroyed_in_the_middle_of_a_shard(tmp_path):
    path, member = shard_of_twenty(tmp_path)
    data = bytearray(path.read_bytes())
    data[member.offset : member.offset + 512] = b"\xaa" * 512
    path.write_bytes(data)
    assert "after 9 whole samples" in refusal(path)


def test_a_parquet_file_damaged_in_the_middle(tmp_path):
    table = {"image": many(60), "caption": [f"n {k}" for k in range(60)]}
    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table(table), path, row_group_size=20, compression="zstd")
    column = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    end = column.data_page_offset + column.total_compressed_size - 20
    data[end - 200 : end] = b"\xff" * 200
    path.write_bytes(data)
    assert re.search(r"x\.parquet: expected a whole parquet file; got, after row \d+: ", refusal(path))


def coco(folder, change):
    path = write_coco(folder)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_cocos_own_faults(tmp_path):
    path = coco(tmp_path, lambda c: c["annotations"].append({"id": 1, "image_id": 99, "caption": "x"}))
    assert re.search("1 x caption of an image that is not listed .*annotation 7: image_id 99", refusal(path))
    path = coco(tmp_path, lambda c: c["images"].append({"id": 50, "file_name": "red.png"}))
    assert re.search(r"1 x image without a caption \(first: .*captions_val2017\.json image 50\)", refusal(path))
    path = coco(tmp_path, lambda c: c["annotations"][0].pop("caption"))
    assert re.search(r"1 x empty caption \(first: .*image 7: none\)", refusal(path))
    path = coco(tmp_path, lambda c: c["images"][1].pop("file_name"))
    assert "expected file_name in each of images; number 2 has none" in refusal(path)
    path = coco(tmp_path, lambda c: c.pop("annotations"))
    assert "an object with images and annotations; got no annotations" in refusal(path)


def test_a_folder_of_only_unusable_rows_says_why(tmp_path):
    path = table(tmp_path, "gone.png,x", "red.png,")
    with pytest.warns(UserWarning, match="left out"):
        message = refusal(path, on_error="skip")
    assert "no usable picture for all in 2 rows; left out: 1 x missing picture (first: " in message


def test_a_picture_is_used_with_the_captions_that_it_has(tmp_path):
    path = write_coco(tmp_path, {**CAPTIONS, "green": ("green, plain", " ", "")})
    with pytest.warns(UserWarning, match="2 x empty caption"):
        pairs = whole(path, on_error="skip")
    assert sorted(pairs.captions(i) for i in range(3)) == [
        ("a red one", "something red"),
        ("blå", "null", "7 blues"),
        ("green, plain",),
    ]


def test_rows_of_several_files_are_distinguished(tmp_path):
    write_parquet_of_bytes(tmp_path).rename(tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table({"image": [png("black"), b"x"], "caption": ["k", "x"]}), tmp_path / "b.parquet")
    assert "b.parquet row 2: not a picture" in refusal(tmp_path / "*.parquet")


def test_wrong_words_for_on_error():
    with pytest.raises(ValueError, match="on_error"):
        DataSettings(on_error="ignore")
    assert DataSettings().on_error == "refuse"
