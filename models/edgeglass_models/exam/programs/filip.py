"""FILIP: each patch of a picture looks for its word, and each word for its patch (Yao et al.).

The similarity of a picture and a caption is the mean over the tokens of one of the largest cosine with those of the
other; padding takes no part.
Measure: recall at 1 of 128 held-out captions by their picture; chance 0.008, usual value 0.5.
"""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_data import LONGEST, PAD, VOCABULARY, tokenize, toy_pairs


class Transformer(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x, padding=None):
        return self.norm(self.blocks(x, src_key_padding_mask=padding))


class FILIP(nn.Module):
    def __init__(self, width=64, heads=4, embed_dim=48):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, width, 4, stride=4),
        )  # fmt: skip
        self.patch_positions = nn.Parameter(0.02 * torch.randn(9, width))
        self.visual = Transformer(width, heads, layers=1)
        self.words = nn.Embedding(len(VOCABULARY), width, padding_idx=PAD)
        self.word_positions = nn.Parameter(0.02 * torch.randn(LONGEST, width))
        self.textual = Transformer(width, heads, layers=1)
        self.image_projection = nn.Linear(width, embed_dim, bias=False)
        self.text_projection = nn.Linear(width, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, images):
        x = self.stem(images).flatten(2).transpose(1, 2) + self.patch_positions
        return F.normalize(self.image_projection(self.visual(x)), dim=-1)

    def encode_text(self, ids, mask):
        x = self.words(ids) + self.word_positions[: ids.shape[1]]
        return F.normalize(self.text_projection(self.textual(x, padding=mask == 0)), dim=-1)

    def similarity(self, patches, words, mask):
        """Return the similarities (images, texts) seen from pictures, and those seen from captions."""
        cosines = torch.einsum("ipd,twd->itpw", patches, words)
        from_images = cosines.masked_fill(mask[None, :, None] == 0, -1.0).amax(3).mean(2)
        from_texts = (cosines.amax(2) * mask).sum(2) / mask.sum(1)
        return from_images, from_texts

    def forward(self, images, ids, mask):
        return self.similarity(self.encode_image(images), self.encode_text(ids, mask), mask)


def filip_loss(model, images, ids, mask):
    from_images, from_texts = model(images, ids, mask)
    scale, labels = model.logit_scale.exp(), torch.arange(len(images))
    return (F.cross_entropy(scale * from_images, labels) + F.cross_entropy(scale * from_texts.T, labels)) / 2


def dataset(n, seed):
    pairs = toy_pairs(n, seed, image_size=24)
    return TensorDataset((pairs.images - 0.5) / 0.25, *tokenize(pairs.captions))


@torch.no_grad()
def recall(model, held_out):
    model.eval()
    from_images, from_texts = model(*held_out.tensors)
    ranked = (from_images + from_texts).argmax(1)
    return (ranked == torch.arange(len(ranked))).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    loader = DataLoader(dataset(1152, args.seed), batch_size=48, shuffle=True, drop_last=True)
    held_out = dataset(128, args.seed + 1000)
    model = FILIP()
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=3e-3, betas=(0.9, 0.98)
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=args.epochs * len(loader))
    for epoch in range(args.epochs):
        model.train()
        for images, ids, mask in loader:
            loss = filip_loss(model, images, ids, mask)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
        print(f"epoch {epoch} loss {loss.item():.4f} scale {model.logit_scale.exp().item():.2f}")
    print(f"measure recall@1 {recall(model, held_out):.4f}")


if __name__ == "__main__":
    main()
