"""Models and losses that are not ours: the whole catalogue is silent where they learn."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.rules import configured
from edgeglass_diag.store import load
from edgeglass_diag.watching import Watch
from edgeglass_models.faults.scenes import EOS, LENGTH, VOCABULARY, draw_pairs
from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()  # transformers and open_clip import torchvision
STEPS = 60
pytestmark = pytest.mark.long


def loud(folder):
    with load(folder) as run:
        assert "rules_failed" not in run.result
        return [(f.code, f.message) for f in run.findings if f.severity != "info"]


def watched(folder, build, loss_of, lr=2e-3):
    torch.manual_seed(0)
    losses = []
    with Watch(folder, rules=configured({})):
        model = build()
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1, (step + 1) / 10)
            optimizer.zero_grad()
            loss = loss_of(model, draw_pairs(64, step))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
    return loud(folder)


def test_a_clip_model_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    small = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, projection_dim=32)

    def build():
        config = transformers.CLIPConfig(
            text_config=dict(
                small,
                vocab_size=VOCABULARY,
                max_position_embeddings=LENGTH,
                eos_token_id=EOS,
                bos_token_id=1,
                pad_token_id=0,
            ),
            vision_config=dict(small, image_size=16, patch_size=4),
            projection_dim=32,
        )
        return transformers.CLIPModel(config)

    def loss_of(model, pairs):
        return model(
            pixel_values=pairs.images,
            input_ids=pairs.tokens,
            attention_mask=(pairs.tokens != 0).long(),
            return_loss=True,
        ).loss

    assert watched(tmp_path / "run", build, loss_of) == []


def test_a_clip_of_open_clip_with_its_own_loss(tmp_path):
    import open_clip
    from open_clip.loss import ClipLoss

    def build():
        return open_clip.model.CLIP(
            32,
            dict(layers=2, width=32, head_width=8, patch_size=4, image_size=16),
            dict(context_length=LENGTH, vocab_size=VOCABULARY, width=32, heads=4, layers=2),
        )

    criterion = ClipLoss()
    assert watched(tmp_path / "run", build, lambda m, p: criterion(*m(p.images, p.tokens))) == []


class Torch(nn.Module):
    """Two encoders of torch's own layers."""

    def __init__(self):
        super().__init__()
        layer = dict(d_model=32, nhead=4, dim_feedforward=64, batch_first=True, norm_first=True, dropout=0.05)
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.place = nn.Parameter(torch.randn(16, 32) * 0.02)
        self.image_encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**layer), 2, enable_nested_tensor=False)
        self.words = nn.Embedding(VOCABULARY, 32)
        self.text_encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**layer), 1, enable_nested_tensor=False)
        self.bias = nn.Parameter(torch.tensor(-4.0))

    def forward(self, images, tokens):
        image = self.image_encoder(self.patches(images).flatten(2).mT + self.place).mean(1)
        text = self.text_encoder(self.words(tokens), src_key_padding_mask=tokens == 0)[:, 0]
        return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


def test_transformer_layers_of_torch_with_a_sigmoid_loss(tmp_path):
    def loss_of(model, pairs):
        image, text = model(pairs.images, pairs.tokens)
        signs = 2 * torch.eye(64) - 1
        return -F.logsigmoid(signs * (10 * image @ text.T + model.bias)).sum() / 64

    assert watched(tmp_path / "run", Torch, loss_of) == []


def test_a_plain_classifier(tmp_path):
    def build():
        return nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 8))

    def loss_of(model, pairs):
        return F.cross_entropy(model(pairs.images), (pairs.tokens[:, 1] - 2).clamp(0, 7))

    assert watched(tmp_path / "run", build, loss_of) == []


def test_a_regression_whose_chance_is_unknown(tmp_path):
    def build():
        return nn.Sequential(nn.Flatten(), nn.Linear(768, 64), nn.GELU(), nn.Linear(64, 3))

    assert watched(tmp_path / "run", build, lambda m, p: F.mse_loss(m(p.images), p.images.mean((2, 3)))) == []
