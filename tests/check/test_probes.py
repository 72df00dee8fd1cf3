"""Probes: what should matter must change the loss, what should not must not, and the program notices none of it."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
import torch

from edgeglass_diag.probing.changes import filled_padding, lengthened_padding, permuted, reversed_tokens, shared
from edgeglass_diag.probing.inputs import InputKind, Inputs

PROGRAM = """
    import sys
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset

    WAY = sys.argv[1]

    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.word = nn.Embedding(50, 16)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=WAY != "batch attends")
            self.out = nn.Linear(16, 8)

        def forward(self, batch):
            ids, mask = batch["ids"], batch["mask"]
            unseen = None if WAY == "batch attends" else mask == 0
            hidden = self.layer(self.word(ids), src_key_padding_mask=unseen)
            if WAY == "padding pooled":
                return self.out(hidden.mean(1))
            weight = mask[..., None].float()
            return self.out((hidden * weight).sum(1) / weight.sum(1))

    class Image(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.out = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8)
            self.gate = nn.Parameter(torch.zeros(()))

        def forward(self, images):
            hidden = self.patches(images).mean((2, 3))
            if WAY == "image lost":
                hidden = torch.ones_like(hidden)
            if WAY == "one size" and len(images) != 16:
                raise ValueError("a batch has 16 images")
            return self.out(hidden) * (self.gate if WAY == "gate at zero" else 1) + self.out.bias

    torch.manual_seed(0)
    text, image = Text(), Image()
    optimizer = torch.optim.AdamW([*text.parameters(), *image.parameters()])
    ids, length = torch.randint(1, 50, (64, 10)), torch.randint(3, 9, (64,))
    mask = (torch.arange(10) < length[:, None]).long()
    data = TensorDataset(torch.randn(64, 3, 8, 8), ids * mask, mask)
    try:
        for images, ids, mask in DataLoader(data, 16, shuffle=True, num_workers=1 if WAY == "workers" else 0):
            a, b = image(images), text({"ids": ids, "mask": mask})
            loss = F.cross_entropy(10 * F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T, torch.arange(len(a)))
            print("loss", loss.item(), file=sys.stderr)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        with open("ended", "a") as file:
            file.write("once\\n")
"""


@pytest.fixture
def probed(command_server, tmp_path):
    """Check the program in one of its ways; return the report, and what the program printed."""

    def run(way, *options):
        program = tmp_path / "train.py"
        program.write_text(dedent(PROGRAM))
        done = command_server.run("check", "train.py", "--json", *options, "--", way, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "ended").read_text() == "once\n"
        (tmp_path / "ended").unlink()
        return json.loads(done.stdout), [line for line in done.stderr.splitlines() if line.startswith("loss")]

    return run


def found(report):
    return {f["code"]: (f["severity"], f["site"]) for f in report["findings"] if f["code"].startswith("EG52")}


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("healthy", {}),
        ("workers", {}),
        ("gate at zero", {}),
        ("image lost", {"EG520": ("critical", "input0")}),
        ("padding pooled", {"EG521": ("warning", "")}),
        ("batch attends", {"EG521": ("warning", ""), "EG522": ("warning", "")}),
    ],
)
def test_what_should_matter_does_and_what_should_not_does_not(probed, way, expected):
    report, printed = probed(way, "--probes")
    assert found(report) == expected
    assert len(printed) == 1  # the copies say nothing
    assert [p["input"] for p in report["probes"][:4]] == ["input0", "input0", "input1", "input1"]
    assert all(p["not_probed"] is None for p in report["probes"])


def test_the_program_trains_as_it_would_without_probes(probed):
    report, printed = probed("healthy")
    assert report["probes"] == []
    assert probed("healthy", "--probes")[1] == printed


def test_a_change_that_the_model_refuses_is_not_probed_and_says_why(probed):
    report, printed = probed("one size", "--probes")
    assert found(report) == {}
    assert len(printed) == 1
    refused = {p["change"]: p["not_probed"] for p in report["probes"] if p["not_probed"]}
    assert refused == dict.fromkeys(("batch_halved", "sample_alone"), "ValueError: a batch has 16 images")


def test_a_program_without_a_model_to_train_says_that_nothing_was_probed(command, tmp_path):
    program = tmp_path / "train.py"
    program.write_text("import torch\nw = torch.zeros(3, requires_grad=True)\n(w - 1).square().sum().backward()\n")
    with program.open("a") as file:
        file.write("torch.optim.SGD([w], 0.1).step()\n")
    report = json.loads(command("check", program, "--probes", "--json").stdout)
    assert report["notes"][1:] == ["not probed: no model with trainable parameters was called with gradients"]


def texts():
    """Three texts of 5, 3 and 4 tokens with their mask, as a batch (3, 6)."""
    ids = torch.tensor([[1, 7, 8, 9, 2, 0], [1, 5, 2, 0, 0, 0], [1, 5, 6, 2, 0, 0]])
    return ids, (ids != 0).long()


def test_inputs_are_what_was_not_computed_of_inputs():
    inputs = Inputs()
    images, (ids, mask) = torch.randn(3, 4), texts()
    assert [each.kind for each in inputs.take(({"pixels": images}, [ids], mask))] == [
        InputKind.VALUES,
        InputKind.TOKENS,
        InputKind.MASK,
    ]
    features = images * 2
    inputs.follow(features, (images, 2))
    assert inputs.take((features, ids)) == []


def test_texts_are_exchanged_with_their_masks():
    ids, mask = texts()
    inputs = Inputs().take((ids, mask))
    assert permuted(0)(inputs) == 1
    assert ids[1].tolist() == [1, 7, 8, 9, 2, 0]
    assert mask.sum(1).tolist() == [4, 5, 3]
    assert shared(0)(inputs) == 1
    assert ids.unique(dim=0).tolist() == [[1, 5, 6, 2, 0, 0]]
    assert shared(0)(inputs) == 0  # there is nothing left to change


@pytest.mark.parametrize("masked", [True, False])
def test_the_order_is_reversed_between_first_and_last_token(masked):
    ids, mask = texts()
    assert reversed_tokens(Inputs().take((ids, mask) if masked else (ids,))) == 1
    assert ids.tolist() == [[1, 9, 8, 7, 2, 0], [1, 5, 2, 0, 0, 0], [1, 6, 5, 2, 0, 0]]


def test_padding_is_filled_where_the_mask_says_so_on_either_side():
    ids, mask = texts()
    left_ids, left_mask = ids.flip(1), mask.flip(1)
    assert filled_padding(Inputs().take((ids, mask))) == 1
    assert ids[1].tolist() == [1, 5, 2, 1, 1, 1]
    assert filled_padding(Inputs().take((left_ids, left_mask))) == 1
    assert left_ids[1].tolist() == [2, 2, 2, 2, 5, 1]
    assert filled_padding(Inputs().take((ids,))) == 0  # without a mask it is not known what padding is


@pytest.mark.parametrize("masked", [True, False])
def test_padding_is_lengthened_with_its_mask(masked):
    ids, mask = texts()
    assert lengthened_padding(Inputs().take((ids, mask) if masked else (ids,))) == 1
    assert ids.shape == (3, 10)
    assert ids[0].tolist() == [1, 7, 8, 9, 2, 0, 0, 0, 0, 0]
    assert mask.shape == (3, 10 if masked else 6)
    assert lengthened_padding(Inputs().take((torch.tensor([[3, 4, 2], [4, 6, 2]]),))) == 0
