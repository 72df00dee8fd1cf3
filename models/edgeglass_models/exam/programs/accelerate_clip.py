"""CLIP with Hugging Face accelerate: bfloat16 autocast, gradient accumulation over two batches, cosine schedule.

Measure: recall@1 of 128 held-out pictures for their captions; chance 0.008, usual value 0.9.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse
import math

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import get_scheduler

from edgeglass_models.exam.toy_data import LONGEST, VOCABULARY, tokenize, toy_pairs


class PairDataset(Dataset):
    def __init__(self, n, seed):
        self.pairs = toy_pairs(n, seed, image_size=24)
        self.ids, self.mask = tokenize(self.pairs.captions)

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return {"images": self.pairs.images[i] * 4 - 2, "ids": self.ids[i], "mask": self.mask[i]}


class Block(nn.Module):
    def __init__(self, width, heads=4):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x, padding=None):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Clip(nn.Module):
    def __init__(self, width=64, dim=64, patches=9):
        super().__init__()
        self.patches = nn.Conv2d(3, width, kernel_size=8, stride=8)
        self.image_positions = nn.Parameter(0.5 * torch.randn(1, patches, width))
        self.image_block, self.image_norm = Block(width), nn.LayerNorm(width)
        self.image_projection = nn.Linear(width, dim, bias=False)
        self.words = nn.Embedding(len(VOCABULARY), width)
        self.text_positions = nn.Parameter(0.02 * torch.randn(1, LONGEST, width))
        self.text_block, self.text_norm = Block(width), nn.LayerNorm(width)
        self.text_projection = nn.Linear(width, dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2) + self.image_positions
        x = self.image_norm(self.image_block(x)).amax(1)
        return F.normalize(self.image_projection(x), dim=-1)

    def encode_text(self, ids, mask):
        x = self.words(ids) + self.text_positions[:, : ids.shape[1]]
        x = self.text_norm(self.text_block(x, padding=mask == 0))
        x = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(self.text_projection(x), dim=-1)

    def forward(self, images, ids, mask):
        return self.encode_image(images), self.encode_text(ids, mask), self.logit_scale.exp()


def clip_loss(image_features, text_features, scale):
    logits = scale * image_features @ text_features.T
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


@torch.no_grad()
def recall_at_1(model, loader):
    model.eval()
    features = [model(**batch)[:2] for batch in loader]
    images, texts = (torch.cat(part).float() for part in zip(*features, strict=True))
    return ((texts @ images.T).argmax(1) == torch.arange(len(texts))).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    set_seed(seed)
    torch.set_num_threads(1)

    accelerator = Accelerator(gradient_accumulation_steps=2, mixed_precision="bf16", cpu=True)
    epochs = 8
    train = DataLoader(PairDataset(1152, seed), batch_size=32, shuffle=True, drop_last=True)
    test = DataLoader(PairDataset(128, seed + 1000), batch_size=64)
    model = Clip()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.05)
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=15, num_training_steps=epochs * len(train) // 2)
    model, optimizer, train, test, scheduler = accelerator.prepare(model, optimizer, train, test, scheduler)

    for epoch in range(epochs):
        model.train()
        total = 0.0
        for batch in train:
            with accelerator.accumulate(model):
                loss = clip_loss(*model(**batch))
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            total += loss.item()
        accelerator.print(f"epoch {epoch} loss {total / len(train):.4f}")

    accelerator.save_state("checkpoint")
    accelerator.load_state("checkpoint")
    print(f"measure recall@1 {recall_at_1(model, test):.4f}")


if __name__ == "__main__":
    main()
