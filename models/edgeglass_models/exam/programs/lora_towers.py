"""Two pretrained towers aligned by low-rank adapters: only adapters, projections and the scale are trained.

The image tower learned to name attributes of other pictures, the text tower to tell the words of a caption.
Measure: recall at 1 of pictures by their caption among 192 new pictures; chance 0.005, usual value 0.8.
"""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_data import LONGEST, PAD, VOCABULARY, tokenize, toy_pairs

DIM = 96


class LoRALinear(nn.Module):
    """A frozen linear layer with a trained low-rank update beside it."""

    def __init__(self, base, rank=8, alpha=16):
        super().__init__()
        self.base = base
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = alpha / rank
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.lora_a), self.lora_b) * self.scaling


def add_lora(module, targets, rank=8):
    """Replace every linear layer that is named in targets by one with an adapter."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and name in targets:
            setattr(module, name, LoRALinear(child, rank))
        else:
            add_lora(child, targets, rank)


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.fc2 = nn.Linear(2 * dim, dim)

    def forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))


class Attention(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x, mask):
        n, length, dim = x.shape
        h = self.norm(x)
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (layer(h).view(n, length, self.heads, -1).transpose(1, 2) for layer in projections)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :].bool())
        return x + self.out_proj(out.transpose(1, 2).reshape(n, length, dim))


class VisionTower(nn.Module):
    def __init__(self, dim=DIM):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1),
            nn.GroupNorm(4, 24),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.GroupNorm(4, 48),
            nn.ReLU(),
        )
        self.flat = nn.Linear(48 * 36, dim)
        self.blocks = nn.ModuleList([Mlp(dim), Mlp(dim)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, images):
        x = self.flat(self.stem(images).flatten(1))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class TextTower(nn.Module):
    def __init__(self, dim=DIM):
        super().__init__()
        self.tokens = nn.Embedding(len(VOCABULARY), dim, padding_idx=PAD)
        self.positions = nn.Parameter(0.02 * torch.randn(LONGEST, dim))
        self.attention = Attention(dim)
        self.mlp = Mlp(dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, ids, mask):
        x = self.mlp(self.attention(self.tokens(ids) + self.positions, mask))
        x = self.norm(x)
        return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


class Aligner(nn.Module):
    """Both towers behind a projection each."""

    def __init__(self, vision, text, embed_dim=64):
        super().__init__()
        self.vision, self.text = vision, text
        self.vision_projection = nn.Linear(DIM, embed_dim, bias=False)
        self.text_projection = nn.Linear(DIM, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images, ids, mask):
        image_embeds = F.normalize(self.vision_projection(self.vision(images)), dim=-1)
        text_embeds = F.normalize(self.text_projection(self.text(ids, mask)), dim=-1)
        return self.logit_scale.exp() * text_embeds @ image_embeds.T


def pretrain(vision, text, seed, steps=90):
    """Name colour, shape, place and size of pictures; tell the words of captions from their mean."""
    pairs = toy_pairs(1152, seed=seed + 500, image_size=24)
    ids, mask = tokenize(pairs.captions)
    attributes = torch.stack([pairs.colour, pairs.shape, pairs.place, pairs.size], 1)
    heads = nn.ModuleList([nn.Linear(DIM, int(attributes[:, i].max()) + 1) for i in range(4)])
    words = nn.Linear(DIM, len(VOCABULARY))
    present = torch.zeros(len(pairs), len(VOCABULARY)).scatter_(1, ids, 1.0)
    parts = nn.ModuleList([vision, text, heads, words])
    optimizer = torch.optim.Adam(parts.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(pairs), (64,))
        features = vision(pairs.images[rows])
        named = sum(F.cross_entropy(head(features), attributes[rows, i]) for i, head in enumerate(heads))
        told = F.binary_cross_entropy_with_logits(words(text(ids[rows], mask[rows])), present[rows])
        optimizer.zero_grad()
        (named + told).backward()
        optimizer.step()
    print(f"pretrained: pictures {named.item():.3f}, captions {told.item():.3f}")


def load(n, seed):
    pairs = toy_pairs(n, seed=seed, image_size=24)
    return TensorDataset(pairs.images, *tokenize(pairs.captions))


@torch.no_grad()
def recall_at_1(model, dataset):
    model.eval()
    logits = model(*dataset.tensors)
    return (logits.argmax(1) == torch.arange(len(logits))).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    vision, text = VisionTower(), TextTower()
    pretrain(vision, text, args.seed)
    for tower in (vision, text):
        tower.requires_grad_(False)
    add_lora(vision, targets=("flat", "fc1", "fc2"))
    add_lora(text, targets=("q_proj", "v_proj", "fc1", "fc2"))
    model = Aligner(vision, text)

    loader = DataLoader(load(1152, args.seed), batch_size=64, shuffle=True, drop_last=True)
    trainable = [p for p in model.parameters() if p.requires_grad]
    print(f"{sum(p.numel() for p in trainable)} of {sum(p.numel() for p in model.parameters())} weights are trained")
    optimizer = torch.optim.AdamW(trainable, lr=4e-3, weight_decay=0.01)
    total, warmup = args.epochs * len(loader), 10
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - warmup),
        ],
        milestones=[warmup],
    )
    for epoch in range(args.epochs):
        model.train()
        for images, ids, mask in loader:
            logits = model(images, ids, mask)
            labels = torch.arange(len(logits))
            loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trainable, 1.0)
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")

    print(f"measure recall@1 {recall_at_1(model, load(192, args.seed + 1000)):.4f}")


if __name__ == "__main__":
    main()
