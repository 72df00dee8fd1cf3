"""LiT: the image tower is locked, BatchNorm in eval mode, and a text tower is trained to match it.

The image tower is pretrained here for a moment on the attributes of other pictures.
Measure: recall at 1 of captions by their picture among 192 new pictures; chance 0.005, usual value 0.8.
"""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_data import LONGEST, PAD, VOCABULARY, tokenize, toy_pairs


class ImageTower(nn.Module):
    def __init__(self, dim=128):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * 36, dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(),
        )

    def forward(self, images):
        return self.trunk(images)


class TextTower(nn.Module):
    def __init__(self, dim=64, heads=4, layers=1):
        super().__init__()
        self.token_embedding = nn.Embedding(len(VOCABULARY), dim, padding_idx=PAD)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(LONGEST, dim))
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.ln_final = nn.LayerNorm(dim)

    def forward(self, ids, mask):
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.ln_final(self.transformer(x, src_key_padding_mask=mask == 0))
        return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


class LiT(nn.Module):
    def __init__(self, visual, width=128, text_width=64, embed_dim=64):
        super().__init__()
        self.visual = visual
        self.visual_projection = nn.Linear(width, embed_dim, bias=False)
        self.text = TextTower(text_width)
        self.text_projection = nn.Linear(text_width, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def lock_image_tower(self):
        for parameter in self.visual.parameters():
            parameter.requires_grad = False
        self.visual.eval()

    def train(self, mode=True):
        super().train(mode)
        self.visual.eval()  # the running statistics of a locked tower stay
        return self

    def encode_image(self, images):
        return F.normalize(self.visual_projection(self.visual(images)), dim=-1)

    def encode_text(self, ids, mask):
        return F.normalize(self.text_projection(self.text(ids, mask)), dim=-1)

    def forward(self, images, ids, mask):
        return self.encode_image(images), self.encode_text(ids, mask), self.logit_scale.exp()


def pretrain(tower, seed, steps=60):
    """Learn to name colour, shape, place and size of pictures."""
    pairs = toy_pairs(1152, seed=seed + 500, image_size=24)
    attributes = torch.stack([pairs.colour, pairs.shape, pairs.place, pairs.size], 1)
    heads = nn.ModuleList([nn.Linear(128, int(attributes[:, i].max()) + 1) for i in range(4)])
    optimizer = torch.optim.Adam([*tower.parameters(), *heads.parameters()], lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(pairs), (64,))
        features = tower(pairs.images[rows])
        loss = sum(F.cross_entropy(head(features), attributes[rows, i]) for i, head in enumerate(heads))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"pretrained, loss {loss.item():.3f}")


def load(n, seed):
    pairs = toy_pairs(n, seed=seed, image_size=24)
    return TensorDataset(pairs.images, *tokenize(pairs.captions))


def evaluate(model, dataset):
    model.eval()
    with torch.no_grad():
        image_features, text_features, scale = model(*dataset.tensors)
        logits = scale * image_features @ text_features.T
    return (logits.argmax(1) == torch.arange(len(logits))).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    tower = ImageTower()
    pretrain(tower, args.seed)
    model = LiT(tower)
    model.lock_image_tower()

    loader = DataLoader(load(1152, args.seed), batch_size=64, shuffle=True, drop_last=True)
    validation = load(192, args.seed + 1000)
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for _, p in trainable if p.ndim >= 2]
    others = [p for _, p in trainable if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=3e-3
    )
    total, warmup = args.epochs * len(loader), 15
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * step / total)),
    )
    for epoch in range(args.epochs):
        model.train()
        for images, ids, mask in loader:
            image_features, text_features, scale = model(images, ids, mask)
            logits = scale * image_features @ text_features.T
            labels = torch.arange(len(logits))
            loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([p for _, p in trainable], 1.0)
            optimizer.step()
            scheduler.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
        print(f"epoch {epoch} loss {loss.item():.4f} scale {scale.item():.2f}")

    print(f"measure recall@1 {evaluate(model, validation):.4f}")


if __name__ == "__main__":
    main()
