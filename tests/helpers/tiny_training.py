"""A small contrastive training that goes ill on purpose.

The image side ends in a product with zero, so that its embeddings are the same for every image. It trains some steps a
second.
"""

import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import edgeglass_diag as eg

PAIRS, TOKENS, WIDTH = 32, 8, 32


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.image_query = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.image_pool = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.image_head = nn.Linear(WIDTH, WIDTH)
        self.text_head = nn.Linear(WIDTH, WIDTH)

    def forward(self, images, texts):
        pooled, _ = self.image_pool(self.image_query.expand(len(images), 1, WIDTH), images, images)
        return self.image_head(pooled[:, 0] * 0), self.text_head(texts)


def train_until(out, stop):
    """Train until the file ``stop`` exists."""
    train(Path(out), steps=2000, stop=Path(stop))


def train(out, *, steps, stop=None):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    with eg.watch(model, optimizer, out=out, every=1) as watch:
        step = 0
        while step < steps and not (stop and stop.exists()):
            texts = torch.randn(PAIRS, WIDTH)
            image, text = model(texts[:, None] + torch.randn(PAIRS, TOKENS, WIDTH), texts)
            logits = normalize(image, dim=-1) @ normalize(text, dim=-1).T / 0.07
            loss = (cross_entropy(logits, torch.arange(PAIRS)) + cross_entropy(logits.T, torch.arange(PAIRS))) / 2
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 20 == 0:
                watch.log({"i2t/R@1": 1 / PAIRS, "t2i/R@1": 1 / PAIRS, "n": PAIRS}, step)
            step += 1
            if stop:
                time.sleep(0.1)  # no one waits for it: it leaves the machine to the dashboard
