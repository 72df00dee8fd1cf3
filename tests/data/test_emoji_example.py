import runpy
from pathlib import Path

import pytest

from edgeglass_models.data.splits import pair_splits
from edgeglass_models.recipes.settings import DataSettings

example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "emoji_pairs.py"))
LIST = """\
# group: Smileys & Emotion
1F600 ; fully-qualified     # 😀 E1.0 grinning face
263A ; unqualified         # ☺ E0.6 smiling face
1F44B 1F3FC ; fully-qualified     # 👋🏼 E1.0 waving hand: medium-light skin tone
1F9D1 200D 1F680 ; fully-qualified     # 🧑‍🚀 E12.1 astronaut
1F1E6 1F1F1 ; fully-qualified     # 🇦🇱 E2.0 flag: Albania
0041 0042 ; fully-qualified     # AB E1.0 no emoji at all
"""


@pytest.mark.skipif(not example["FONT"].is_file(), reason="needs fonts-noto-color-emoji")
def test_pictures_with_their_names(tmp_path, capsys):
    (tmp_path / "list.txt").write_text(LIST, encoding="utf-8")
    assert example["main"]([str(tmp_path / "out"), "--list", str(tmp_path / "list.txt")]) == 0
    assert "4 pictures" in capsys.readouterr().out
    pairs = pair_splits(DataSettings(path=tmp_path / "out" / "pairs.csv"), whole=True)["all"]
    names = ["grinning face", "waving hand: medium-light skin tone", "astronaut", "flag: Albania"]
    assert [pairs.captions(i) for i in range(4)] == [(name,) for name in names]
    for i in range(4):
        picture = pairs[i][0]
        assert picture.size == (136, 136)
        assert len(set(picture.get_flattened_data())) > 20, "a coloured picture, not an outline or a blank"


@pytest.mark.parametrize("option", ["--font", "--list"])
def test_one_clear_line_when_something_is_missing(tmp_path, capsys, option):
    missing = str(tmp_path / "none")
    font = [] if option == "--font" else ["--font", str(_any_font())]
    assert example["main"]([str(tmp_path / "out"), *font, option, missing]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert missing in error
    assert "apt-get install" in error


def _any_font():
    if not example["FONT"].is_file():
        pytest.skip("needs fonts-noto-color-emoji")
    return example["FONT"]
