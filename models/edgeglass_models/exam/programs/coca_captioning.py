"""CoCa with coca-pytorch: a contrastive and a captioning loss on one image-text transformer.

Measure: recall at 5 of captions by their picture among 192 new pictures; chance 0.026,
usual value 0.95.
"""

import argparse
import math

import torch
import torch.nn.functional as F
from coca_pytorch.coca_pytorch import CoCa
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_data import PAD, VOCABULARY, caption_of, tokenize, toy_pairs


class ImageEncoder(nn.Module):
    """A small convolutional network that ends in a few image tokens."""

    def __init__(self, dim, tokens=6):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.GELU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(48),
            nn.GELU(),
        )
        self.to_tokens = nn.Linear(48 * 36, tokens * dim)
        self.tokens = tokens

    def forward(self, images):
        return self.to_tokens(self.conv(images).flatten(1)).unflatten(1, (self.tokens, -1))


def make_model(dim=64):
    return CoCa(
        dim=dim,
        img_encoder=ImageEncoder(dim),
        image_dim=dim,
        num_tokens=len(VOCABULARY),
        num_img_queries=4,
        unimodal_depth=2,
        multimodal_depth=1,
        dim_head=16,
        heads=4,
        ff_mult=2,
        caption_loss_weight=1.0,
        contrastive_loss_weight=1.0,
        pad_id=PAD,
    )


def make_data(seed):
    pairs, held_out = toy_pairs(1152, seed=seed, image_size=24), toy_pairs(192, seed=seed + 1000, image_size=24)
    text, _ = tokenize(caption_of(pairs))
    held_out_text, _ = tokenize(caption_of(held_out))
    return TensorDataset(pairs.images, text), TensorDataset(held_out.images, held_out_text)


@torch.no_grad()
def retrieval(coca, dataset):
    coca.eval()
    images, text = dataset.tensors
    text_embeds, image_embeds = coca(text=text, images=images, return_embeddings=True)
    text_latents = coca.text_to_latents(text_embeds)
    image_latents = coca.img_to_latents(image_embeds)
    ranked = (image_latents @ text_latents.T).topk(5, dim=1).indices
    return (ranked == torch.arange(len(images))[:, None]).any(dim=1).float().mean().item()


@torch.no_grad()
def caption_perplexity(coca, dataset):
    coca.eval()
    images, text = dataset.tensors
    logits = coca(text=text[:, :-1], images=images)
    return F.cross_entropy(logits.transpose(1, 2), text[:, 1:], ignore_index=PAD).exp().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=160)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    train_set, held_out = make_data(args.seed)
    loader = DataLoader(train_set, batch_size=48, shuffle=True, drop_last=True)
    coca = make_model()
    nn.init.constant_(coca.temperature, math.log(1 / 0.07))
    optimizer = torch.optim.AdamW(coca.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 20, 0.5 * (1 + math.cos(math.pi * step / args.steps)))
    )

    step = 0
    while step < args.steps:
        coca.train()
        for images, text in loader:
            loss = coca(text=text, images=images, return_loss=True)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(coca.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            step += 1
            if step % 20 == 0:
                print(f"step {step} loss {loss.item():.4f} temperature {coca.temperature.exp().item():.3f}")
            if step == args.steps:
                break

    print(f"caption perplexity {caption_perplexity(coca, held_out):.3f}")
    print(f"measure recall@5 {retrieval(coca, held_out):.4f}")


if __name__ == "__main__":
    main()
