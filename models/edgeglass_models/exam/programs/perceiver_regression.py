"""A Perceiver resampler on frozen patch features, trained by cosine regression to frozen text embeddings.

Measure: recall at 1 of captions by their picture among 192 new pictures; chance 0.005, usual value 0.45.
"""

import argparse

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import einsum, nn
from torch.utils.data import DataLoader, Dataset

from edgeglass_models.exam.toy_data import PAD, VOCABULARY, caption_of, tokenize, toy_pairs


class PerceiverAttention(nn.Module):
    def __init__(self, dim, dim_head=16, heads=4):
        super().__init__()
        self.scale, self.heads = dim_head**-0.5, heads
        self.norm_media, self.norm_latents = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, x, latents):
        x, latents = self.norm_media(x), self.norm_latents(latents)
        q = self.to_q(latents) * self.scale
        k, v = self.to_kv(torch.cat((x, latents), dim=-2)).chunk(2, dim=-1)
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in (q, k, v))
        attention = einsum("b h i d, b h j d -> b h i j", q, k).softmax(dim=-1)
        out = einsum("b h i j, b h j d -> b h i d", attention, v)
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))


class PerceiverResampler(nn.Module):
    def __init__(self, dim_in, positions, dim=64, depth=2, num_latents=8, dim_out=48):
        super().__init__()
        self.proj_in = nn.Linear(dim_in, dim)
        self.media_pos_emb = nn.Parameter(torch.randn(positions, dim) * 0.3)
        self.latents = nn.Parameter(torch.randn(num_latents, dim))
        self.layers = nn.ModuleList([nn.ModuleList([PerceiverAttention(dim), feed_forward(dim)]) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.proj_out = nn.Linear(num_latents * dim, dim_out)

    def forward(self, features):
        x = self.proj_in(features) + self.media_pos_emb
        latents = repeat(self.latents, "n d -> b n d", b=len(x))
        for attention, mlp in self.layers:
            latents = attention(x, latents) + latents
            latents = mlp(latents) + latents
        return self.proj_out(self.norm(latents).flatten(1))


def feed_forward(dim, mult=2, dropout=0.05):
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, mult * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(mult * dim, dim)
    )


def frozen_vision_tower():
    """Random filters of 8 x 8 pixels every 4 pixels, rectified: a fixed (n, 36, 96) view of pictures."""
    tower = nn.Sequential(nn.Conv2d(3, 96, 8, stride=4, padding=2), nn.ReLU(), nn.Flatten(2)).eval()
    return tower.requires_grad_(False)


def frozen_text_embeddings(captions, dim=48):
    """Mean of fixed random word vectors, centred, unit length."""
    generator = torch.Generator().manual_seed(7)
    words = torch.randn(len(VOCABULARY), dim, generator=generator)
    ids, _ = tokenize(captions)
    mask = (ids != PAD).unsqueeze(-1)
    mean = (words[ids] * mask).sum(1) / mask.sum(1)
    return F.normalize(mean - mean.mean(0), dim=-1)


class Features(Dataset):
    """Features and text embeddings, computed once."""

    def __init__(self, tower, n, seed):
        pairs = toy_pairs(n, seed=seed, image_size=24)
        with torch.no_grad():
            self.features = tower(2 * pairs.images - 1).transpose(1, 2)
        self.targets = frozen_text_embeddings(caption_of(pairs))

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return self.features[i], self.targets[i]


def recall_at_1(model, data):
    model.eval()
    with torch.no_grad():
        predicted = F.normalize(model(data.features), dim=-1)
    return ((predicted @ data.targets.T).argmax(1) == torch.arange(len(data))).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    tower = frozen_vision_tower()
    train, held_out = Features(tower, 1152, args.seed), Features(tower, 192, args.seed + 1000)
    loader = DataLoader(train, batch_size=64, shuffle=True, drop_last=True)
    model = PerceiverResampler(dim_in=96, positions=36)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, 1.0, total_iters=20)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs * len(loader) - 20)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[20])

    for epoch in range(args.epochs):
        model.train()
        epoch_loss = 0.0
        for features, targets in loader:
            predicted = F.normalize(model(features), dim=-1)
            loss = (1 - F.cosine_similarity(predicted, targets, dim=-1)).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            epoch_loss += loss.item() / len(loader)
        print(f"epoch {epoch} cosine loss {epoch_loss:.4f} recall@1 {recall_at_1(model, held_out):.3f}")

    torch.save(model.state_dict(), "resampler.pt")
    model = PerceiverResampler(dim_in=96, positions=36)
    model.load_state_dict(torch.load("resampler.pt"))
    print(f"measure recall@1 {recall_at_1(model, held_out):.4f}")


if __name__ == "__main__":
    main()
