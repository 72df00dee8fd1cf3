"""Pictures and captions kept with embeddings: whose they are, where words come from, and when there are none."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag.pair_samples import Wording
from edgeglass_diag.record import Recorder
from edgeglass_diag.record.thumbnails import is_picture, thumbnails
from edgeglass_diag.record.token_texts import decoded
from edgeglass_diag.records import UsageError

PAIRS = 8
IDS = torch.arange(1, 1 + PAIRS * 5).reshape(PAIRS, 5)


class Towers(nn.Module):
    """Both sides in one call, with strings beside the tensors, as a batch of a collator has them."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6))
        self.text = nn.EmbeddingBag(64, 6)

    def forward(self, batch):
        sides = self.image(batch["pixels"]), self.text(batch["ids"])
        return [F.normalize(side, dim=-1) for side in sides]


class Whole(Towers):
    """The loss within the model, as Hugging Face's CLIP has it."""

    def forward(self, batch):
        image, text = super().forward(batch)
        return F.cross_entropy(5 * image @ text.T, torch.arange(len(image)))


def pictures(pairs=PAIRS):
    """Picture i is bright in row i of its blocks and dark elsewhere."""
    rows = torch.zeros(pairs, 3, 16, 16)
    for i in range(pairs):
        rows[i, :, i] = 1.0
    return rows


def batch_of(pairs=PAIRS, **more):
    return {"pixels": pictures(pairs), "ids": IDS[:pairs], **more}


def kept(loss_of, *, samples=True, model=None, steps=1):
    taken = []
    with Recorder(lambda step: True, lambda window: None, embeddings=taken.append, samples=samples):
        model = model or Towers()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(steps):
            loss_of(model).backward()
            optimizer.step()
            optimizer.zero_grad()
    return [pairs.resolve_samples() for pairs in taken]


def contrast(image, text):
    return F.cross_entropy(5 * image @ text.T, torch.arange(len(image)) % len(text))


def brightest(samples):
    return samples.pictures.sum((2, 3)).argmax(1).tolist()


@pytest.mark.parametrize("model", [Towers, Whole])
def test_row_i_of_pictures_and_captions_is_pair_i(model):
    captions = [f"a caption of {i}" for i in range(PAIRS)]

    def loss_of(model):
        made = model(batch_of(caption=captions))
        return made if isinstance(model, Whole) else contrast(*made)

    (samples,) = kept(loss_of, model=model())
    assert samples.pictures.shape == (PAIRS, 16, 16, 3)
    assert brightest(samples) == list(range(PAIRS))
    assert samples.captions == tuple(captions)
    assert (samples.wording, samples.note) == (Wording.TEXTS, "")


def test_towers_called_one_by_one_and_the_batch_that_is_compared_last():
    def loss_of(model):
        with torch.no_grad():
            model.image(pictures().flip(0))  # of no pair
        for flip in ((), (0,)):
            image = F.normalize(model.image(pictures().flip(flip)), dim=-1)
            text = F.normalize(model.text(IDS.flip(flip)), dim=-1)
            if not flip:
                contrast(image, text).backward()  # pairs of the first of two accumulated batches are kept
        return contrast(image, text)

    (samples,) = kept(loss_of)
    assert brightest(samples) == list(range(PAIRS))
    assert samples.wording == Wording.IDS
    assert samples.captions[1] == "token ids 6 7 8 9 10"


def test_rows_that_do_not_agree_are_not_kept_and_that_is_said():
    def loss_of(model):
        image, text = model(batch_of())
        return contrast(torch.cat([image, image.detach().flip(0)]), torch.cat([text, text.detach().flip(0)]))

    (samples,) = kept(loss_of)
    assert (len(samples.pictures), samples.captions) == (0, ())
    assert "no pictures: the models were called with 8 rows, the loss compared 16 pairs" in samples.note
    assert "no captions" in samples.note


def test_none_are_kept_where_none_are_wanted():
    assert kept(lambda model: contrast(*model(batch_of())), samples=False) == [None]


def test_the_training_is_the_same_to_the_bit():
    def weights(samples):
        torch.manual_seed(0)
        model = Towers()
        kept(lambda model: contrast(*model(batch_of())) + 0 * torch.rand(()), samples=samples, model=model, steps=4)
        return [*(p.detach().clone() for p in model.parameters()), torch.rand(3)]

    assert all(map(torch.equal, weights(True), weights(False)))


def clip_tokenizer():
    """open_clip's own, without the rest of the package, which wants torchvision."""
    file = Path(importlib.util.find_spec("open_clip").origin).with_name("tokenizer.py")
    spec = importlib.util.spec_from_file_location("open_clip.tokenizer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_come_from_the_one_tokenizer_of_the_program_that_fits(monkeypatch):
    module = clip_tokenizer()
    monkeypatch.setitem(sys.modules, "open_clip.tokenizer", module)
    tokenizer = module.SimpleTokenizer()
    texts = ["a red square", "two dogs, one ball", "<img src=x onerror=alert(1)>"]

    class Long(Towers):
        def __init__(self):
            super().__init__()
            self.text = nn.EmbeddingBag(tokenizer.vocab_size, 6)

    batch = {"pixels": pictures(3), "ids": tokenizer(texts)}
    (samples,) = kept(lambda model: contrast(*model(batch)), model=Long())
    assert samples.wording == Wording.DECODED
    assert samples.captions[:2] == ("a red square", "two dogs , one ball")
    assert "onerror" in samples.captions[2]
    ids = kept(lambda model: contrast(*model(batch_of())))[0]
    assert ids.wording == Wording.IDS  # ids that this tokenizer never makes


def test_two_tokenizers_that_fit_tell_nothing():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def built(word):
        inner = Tokenizer(models.WordLevel({f"{word}{i}": i for i in range(50)}, unk_token=f"{word}0"))
        inner.pre_tokenizer = pre_tokenizers.Whitespace()
        return PreTrainedTokenizerFast(tokenizer_object=inner, name_or_path=word)

    mine = built("mine")
    assert decoded([[3, 4], [5, 6]]) == ["mine3 mine4", "mine5 mine6"]
    assert mine.decode([1]) == "mine1"
    other = built("other")
    assert decoded([[3, 4]]) is None
    assert len(other) == 50


@pytest.mark.parametrize("shape", [(2, 3, 224, 224), (2, 65, 130, 1), (2, 1, 300, 2), (2, 3, 64, 64), (2, 7, 7, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_thumbnails_are_small_whatever_comes(shape, dtype):
    given = (torch.rand(shape) * 255).to(dtype)
    assert is_picture(given)
    small = thumbnails(given)
    assert small.dtype == torch.uint8
    assert max(small.shape[1:3]) <= 64
    assert small.shape[3] in (1, 3)


def test_a_thumbnail_of_floats_fills_its_own_range_and_broken_ones_do_not_fail():
    given = torch.stack([torch.linspace(-2, 2, 192).reshape(3, 8, 8), torch.full((3, 8, 8), 5.0)])
    given[1, 0, 0, 0] = float("nan")
    small = thumbnails(given)
    assert (small[0].min(), small[0].max()) == (0, 255)
    assert not is_picture(torch.rand(2, 5, 8, 8))
    assert not is_picture(torch.rand(2, 3, 8))


def test_a_watched_run_keeps_them_and_says_when_the_file_is_broken(tmp_path):
    for name, samples in (("with", True), ("without", False)):
        with eg.watch(out=tmp_path / name, samples=samples):
            model = Towers()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for _ in range(3):
                contrast(*model(batch_of())).backward()
                optimizer.step()
                optimizer.zero_grad()
    with eg.load(tmp_path / "with") as run:
        assert run.embedding_steps() == [0, 2]
        found = run.samples(2)
        assert brightest(found) == list(range(PAIRS))
        assert len(found.captions) == PAIRS
        file = tmp_path / "with" / "embeddings" / "samples-2.safetensors"
        file.write_bytes(b"broken")
        with pytest.raises(UsageError, match="cannot be read as samples"):
            run.samples(2)
        file.unlink()
        assert len(run.samples(2).pictures) == 0
    with eg.load(tmp_path / "without") as run:
        assert run.embedding_steps() == [0, 2]
        assert run.samples(2).captions == ()
    assert not list((tmp_path / "without").rglob("samples-*"))
    assert np.all(found.of_pairs(3).pictures == found.pictures[:0])
