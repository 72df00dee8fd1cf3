import re

import numpy as np
import pytest
from PIL import Image

from edgeglass_models.data.pairs import CsvPairs, split_pairs


def make_csv(folder, text, name="pairs.csv"):
    (folder / "pictures").mkdir(exist_ok=True)
    for colour in ("red", "green", "blue"):
        Image.new("RGB", (8, 6), colour).save(folder / "pictures" / f"{colour}.png")
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_in_order_with_paths_relative_to_the_file(tmp_path):
    pairs = CsvPairs(make_csv(tmp_path, 'image,caption\npictures/red.png,"red, plain"\npictures/blue.png,blå\n'))
    assert len(pairs) == 2
    image, text = pairs[0]
    assert (image.mode, image.size, image.getpixel((0, 0)), text) == ("RGB", (8, 6), (255, 0, 0), "red, plain")
    assert pairs[1][1] == "blå"


def test_other_column_names_tabs_and_byte_order_mark(tmp_path):
    path = make_csv(tmp_path, "\ufefffile\twords\npictures/red.png\tred\n", "pairs.tsv")
    assert CsvPairs(path, image_column="file", caption_column="words")[0][1] == "red"


def test_transparency_lies_on_white(tmp_path):
    path = make_csv(tmp_path, "image,caption\nclear.png,clear\npalette.png,palette\n")
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9])
    palette.save(tmp_path / "palette.png", transparency=0)
    pairs = CsvPairs(path)
    assert {pairs[i][0].getpixel((1, 1)) for i in range(2)} == {(255, 255, 255)}


def test_unusable_rows_are_left_out_with_one_warning(tmp_path):
    text = "image,caption\npictures/red.png,red\ngone.png,gone\npictures/blue.png, \ntext.png,text\n,no picture\n"
    path = make_csv(tmp_path, text)
    (tmp_path / "text.png").write_text("not a picture")
    message = f"{path}: left out 4 of 5 rows, the first at line 3: missing file 'gone.png'"
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        pairs = CsvPairs(path)
    assert [text for _, text in pairs.rows] == ["red"]


@pytest.mark.parametrize(
    ("text", "came"),
    [
        ("image,caption\n", "expected rows with an existing picture and a caption; got no rows"),
        ("image,caption\ngone.png,x\n", "expected rows with .*; got line 2: missing file 'gone.png'"),
        ("picture,text\na.png,x\n", "expected columns image and caption; got picture, text"),
        ("", "expected columns image and caption; got an empty file"),
        ("image,caption\npictures/red.png\n", "expected rows with .*; got line 2: empty caption of 'pictures/red.png'"),
    ],
)
def test_nothing_usable(tmp_path, text, came):
    path = make_csv(tmp_path, text)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {came}$"):
        CsvPairs(path)


def test_unreadable_files(tmp_path):
    with pytest.raises(ValueError, match=r"expected a CSV file in UTF-8; got .*No such file"):
        CsvPairs(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("image,caption\na.png,blå\n".encode("latin-1"))
    with pytest.raises(ValueError, match="expected a CSV file in UTF-8; got 'utf-8' codec"):
        CsvPairs(tmp_path / "latin.csv")


def test_a_truncated_picture_is_named_when_it_is_read(tmp_path):
    path = make_csv(tmp_path, "image,caption\ncut.png,cut\n")
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    with pytest.raises(ValueError, match=r"cut\.png: expected a whole picture; got"):
        CsvPairs(path)[0]


def test_fingerprint_follows_captions_and_pictures(tmp_path):
    text = "image,caption\npictures/red.png,red\n"
    path = make_csv(tmp_path, text)
    before = CsvPairs(path).fingerprint
    assert CsvPairs(path).fingerprint == before
    path.write_text(text.replace(",red\n", ",scarlet\n"))
    renamed = CsvPairs(path).fingerprint
    Image.new("RGB", (9, 9), "red").save(tmp_path / "pictures" / "red.png")
    assert len({before, renamed, CsvPairs(path).fingerprint}) == 3


@pytest.fixture
def captioned_twice(tmp_path):
    rows = []
    for k in range(200):
        Image.new("L", (2, 2), k).save(tmp_path / f"{k}.png")
        rows += [f"{k}.png,first {k}", f"./{k}.png,second {k}"]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,caption", *rows]))
    return CsvPairs(tmp_path / "pairs.csv")


def test_parts_are_disjoint_in_pictures_and_complete(captioned_twice):
    parts = split_pairs(captioned_twice, val=0.2, test=0.1)
    numbers = [{text.split()[1] for _, text in (part[i] for i in range(len(part)))} for part in parts]
    assert not numbers[0] & numbers[1]
    assert not (numbers[0] | numbers[1]) & numbers[2]
    assert sum(map(len, parts)) == 400
    assert np.allclose([len(part) / 400 for part in parts], [0.7, 0.2, 0.1], atol=0.1)
    assert len({part.fingerprint for part in parts}) == 3


def test_a_picture_keeps_its_part_when_others_go(captioned_twice, tmp_path):
    before = {captioned_twice.rows[i][0] for i in split_pairs(captioned_twice)[2].indices}
    lines = captioned_twice.path.read_text().splitlines()
    (tmp_path / "half.csv").write_text("\n".join(lines[:201]))
    half = CsvPairs(tmp_path / "half.csv")
    assert {half.rows[i][0] for i in split_pairs(half)[2].indices} < before


def test_seed_moves_the_borders(captioned_twice):
    assert split_pairs(captioned_twice, seed=1)[2].indices != split_pairs(captioned_twice, seed=0)[2].indices


def test_wrong_shares(captioned_twice, tmp_path):
    with pytest.raises(ValueError, match=r"^val, test: expected shares .*; got 0\.5, 0\.5$"):
        split_pairs(captioned_twice, val=0.5, test=0.5)
    (tmp_path / "one.csv").write_text("image,caption\n1.png,one\n")
    with pytest.raises(ValueError, match=r"one\.csv: expected pictures for \w+ \(\d+% of 1 rows\); got none"):
        split_pairs(CsvPairs(tmp_path / "one.csv"))
