import json
import shutil

import numpy as np
import pytest
import torch

from edgeglass_models.data.features import cached_features, default_cache_dir
from edgeglass_models.data.rows import Fault
from edgeglass_models.data.scenes import ScenePairs
from edgeglass_models.data.splits import FeatureSet
from edgeglass_models.tiny_clip import WEIGHTS
from edgeglass_models.towers import load_tower

N = 20


@pytest.fixture(scope="module")
def tower():
    return load_tower("tiny_clip")


@pytest.fixture(scope="module")
def pairs():
    return ScenePairs("val", N)


@pytest.fixture(scope="module")
def made(tower, pairs, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return cache, cached_features(tower, pairs, cache_dir=cache, batch_size=8)


@pytest.fixture
def cache(made, tmp_path):
    """A copy of the made cache, free to be damaged."""
    return shutil.copytree(made[0], tmp_path / "cache")


def entry_of(cache):
    (entry,) = cache.iterdir()
    return entry


def changed_times(entry):
    return {file.name: file.stat().st_mtime_ns for file in entry.iterdir()}


def test_features_are_the_towers_own(tower, pairs, made):
    features = made[1]
    images = torch.stack([tower.transform(pairs[i][0]) for i in range(N)])
    texts = tower.text_features(tower.tokenizer([pairs[i][1] for i in range(N)]))
    assert (features.tokens.dtype, features.text.dtype) == (np.float16, np.float32)
    torch.testing.assert_close(torch.from_numpy(features.tokens).float(), tower.image_tokens(images), atol=5e-3, rtol=0)
    torch.testing.assert_close(torch.from_numpy(features.text), texts, atol=1e-4, rtol=0)


def test_a_second_call_reads_the_cache(tower, pairs, cache, made):
    before = changed_times(entry_of(cache))
    again = cached_features(tower, pairs, cache_dir=cache)
    assert changed_times(entry_of(cache)) == before
    assert isinstance(again.tokens, np.memmap)
    assert np.array_equal(again.tokens, made[1].tokens)
    assert again.fingerprint == made[1].fingerprint


def test_nothing_else_is_left_in_the_cache_folder(made):
    entry = entry_of(made[0])
    assert sorted(file.name for file in entry.iterdir()) == ["image_index.npy", "meta.json", "text.npy", "tokens.npy"]


def test_writing_to_the_arrays_leaves_the_files(tower, pairs, cache, made):
    features = cached_features(tower, pairs, cache_dir=cache)
    features.tokens[:] = 0
    assert np.array_equal(cached_features(tower, pairs, cache_dir=cache).tokens, made[1].tokens)


@pytest.mark.parametrize("what", ["pairs", "dtype", "tower"])
def test_other_data_format_or_tower_are_another_entry(tower, pairs, cache, made, what, tmp_path):
    if what == "pairs":
        other = cached_features(tower, ScenePairs("val", N, seed=1), cache_dir=cache)
    elif what == "dtype":
        other = cached_features(tower, pairs, cache_dir=cache, dtype="float32")
        assert other.tokens.dtype == np.float32
    else:
        shutil.copytree(WEIGHTS, tmp_path / "own")
        config = tmp_path / "own" / "open_clip_config.json"
        config.write_text(config.read_text().replace("bicubic", "bilinear"))
        other = cached_features(load_tower(str(tmp_path / "own")), pairs, cache_dir=cache)
    assert other.fingerprint != made[1].fingerprint
    assert len(list(cache.iterdir())) == 2


def truncate(entry, name):
    (entry / name).write_bytes((entry / name).read_bytes()[:-10])


def flip_bit(entry, name, position):
    data = bytearray((entry / name).read_bytes())
    data[position] ^= 1
    (entry / name).write_bytes(data)


DAMAGES = {
    "truncated tokens": lambda entry: truncate(entry, "tokens.npy"),
    "truncated text": lambda entry: truncate(entry, "text.npy"),
    "flipped bit of the header": lambda entry: flip_bit(entry, "tokens.npy", 3),
    "flipped bit of the shape": lambda entry: flip_bit(entry, "tokens.npy", 60),
    "flipped bit of the data": lambda entry: flip_bit(entry, "tokens.npy", 4321),
    "flipped bit of the text": lambda entry: flip_bit(entry, "text.npy", -1),
    "missing tokens": lambda entry: (entry / "tokens.npy").unlink(),
    "missing meta": lambda entry: (entry / "meta.json").unlink(),
    "no json": lambda entry: (entry / "meta.json").write_text("{"),
    "json of another kind": lambda entry: (entry / "meta.json").write_text("[]"),
    "json without entries": lambda entry: (entry / "meta.json").write_text("{}"),
    "binary json": lambda entry: (entry / "meta.json").write_bytes(b"\xff\xfe"),
    "another key": lambda entry: (entry / "meta.json").write_text(
        json.dumps(json.loads((entry / "meta.json").read_text()) | {"key": "x"})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_mended(tower, pairs, cache, made, damage):
    DAMAGES[damage](entry_of(cache))
    with pytest.warns(UserWarning, match="damaged cache is computed again"):
        mended = cached_features(tower, pairs, cache_dir=cache, batch_size=8)
    assert np.array_equal(mended.tokens, made[1].tokens)
    assert np.array_equal(mended.text, made[1].text)
    cached_features(tower, pairs, cache_dir=cache)  # sound now: no warning


class Other:
    """Scenes with a few things changed."""

    def __init__(self, pairs, name, faults=(), captions=None):
        self.pairs, self.fingerprint, self.faults = pairs, name, dict(faults)
        self.replaced = captions or {}

    def __len__(self):
        return len(self.pairs)

    def captions(self, i):
        return self.replaced.get(i, self.pairs.captions(i))

    def pictures(self, indices):
        for i, picture in zip(indices, self.pairs.pictures(indices), strict=True):
            fault = self.faults.get(i)
            if isinstance(fault, Exception):
                raise fault
            yield fault or picture


def test_an_error_halfway_leaves_nothing_behind(tower, pairs, tmp_path):
    with pytest.raises(ValueError, match="picture 19 is damaged"):
        cached_features(
            tower, Other(pairs, "x", {N - 1: ValueError("picture 19 is damaged")}), cache_dir=tmp_path, batch_size=8
        )
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_to_stderr_only_when_asked_without_a_terminal(tower, pairs, tmp_path, capfd):
    cached_features(tower, pairs, cache_dir=tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")
    cached_features(tower, pairs, cache_dir=tmp_path / "asked", progress=True)
    output, errors = capfd.readouterr()
    assert output == ""
    assert "frozen features" in errors


def test_cache_folder_that_cannot_be_written(tower, pairs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"^cache_dir: expected a folder that can be written; got .*file/below"):
        cached_features(tower, pairs, cache_dir=tmp_path / "file" / "below")


def test_no_pairs(tower, tmp_path):
    with pytest.raises(ValueError, match=r"^pairs: expected at least one pair; got none$"):
        cached_features(tower, [], cache_dir=tmp_path)


def test_default_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEGLASS_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("EDGEGLASS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "edgeglass-diag"


def test_damaged_pictures_are_named_and_have_no_row(tower, pairs, made, tmp_path):
    faults = {k: Fault("damaged picture", f"row {k}", "cut") for k in (0, 7, *range(8, 16), 19)}
    other = Other(pairs, "damaged", faults)
    features = cached_features(tower, other, cache_dir=tmp_path, batch_size=8)
    kept = [k for k in range(N) if k not in faults]
    assert features.damaged == tuple(faults.values())
    np.testing.assert_allclose(features.tokens, made[1].tokens[kept], atol=5e-3)
    assert features.image_index.tolist() == list(range(len(kept)))
    again = cached_features(tower, other, cache_dir=tmp_path, batch_size=8)
    assert again.damaged == features.damaged
    nothing = Other(pairs, "nothing", {k: Fault("damaged picture", f"row {k}", "cut") for k in range(N)})
    with pytest.raises(ValueError, match="expected pictures; got 20 damaged ones, the first row 0: cut"):
        cached_features(tower, nothing, cache_dir=tmp_path)


def test_every_caption_of_a_picture_has_a_row(tower, pairs, made, tmp_path):
    several = {2: ("a", "b", "c"), 19: ("d", *pairs.captions(19))}
    features = cached_features(tower, Other(pairs, "several", captions=several), cache_dir=tmp_path, batch_size=8)
    assert features.image_index.tolist() == [0, 1, 2, 2, 2, *range(3, N), 19]
    np.testing.assert_allclose(features.text[[0, 1, 5, -1]], made[1].text[[0, 1, 3, 19]], atol=1e-4)
    expected = tower.text_features(tower.tokenizer(["b"]))[0]
    np.testing.assert_allclose(features.text[3], expected, atol=1e-4)
    one = FeatureSet(features)
    turns = [one.with_captions(torch.tensor([2, 19, 0]), torch.tensor([turn] * 3))[1] for turn in range(3)]
    for turn, rows in enumerate(([2, 21, 0], [3, 22, 0], [4, 21, 0])):
        assert torch.equal(turns[turn], torch.from_numpy(features.text[rows])), turn


def test_captions_that_lose_their_end_are_counted(tower, pairs, tmp_path):
    context = tower.tokenizer.context_length
    long = {0: ("red " * (context - 2), "red " * (context - 1)), 1: ("red " * 500,)}
    assert [tower.cuts(text) for text in (*long[0], *long[1])] == [False, True, True]
    assert cached_features(tower, Other(pairs, "long", captions=long), cache_dir=tmp_path).cut == 2
    assert cached_features(tower, Other(pairs, "long", captions=long), cache_dir=tmp_path).cut == 2
