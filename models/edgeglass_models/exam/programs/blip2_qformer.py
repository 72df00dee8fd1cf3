"""BLIP-2's first stage: transformers' Q-Former on a frozen image encoder, contrastive and matching losses together.

The encoder is pretrained here for a moment on the attributes of other pictures.
The matching head sees each true pair, and for each picture and each caption one hard negative of the batch.
Measure: recall@1 of 96 held-out pictures for their captions, the 8 best by contrast ordered by both scores;
chance 0.010, usual value 0.8.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from edgeglass_models.exam.toy_data import VOCABULARY, caption_of, tokenize, toy_pairs

STEPS = 200
QUERIES = 2
LONGEST = 7  # tokens of a caption


class FrozenEncoder(nn.Module):
    """Stands for a pretrained vision tower: a convolutional network that gives a few tokens for each picture."""

    def __init__(self, width=64, tokens=4):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, kernel_size=4, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1),
            nn.Flatten(),
            nn.Linear(64 * 9, tokens * width),
            nn.Unflatten(1, (tokens, width)),
            nn.LayerNorm(width),
        )

    def forward(self, images):
        return self.layers(images)


def mean_of_words(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class QFormer(nn.Module):
    def __init__(self, vision, width=64, dim=64):
        super().__init__()
        self.vision = vision.eval().requires_grad_(False)
        config = Blip2QFormerConfig(
            hidden_size=width,
            encoder_hidden_size=width,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=128,
            cross_attention_frequency=1,
            initializer_range=0.1,
            use_qformer_text_input=True,
        )
        self.qformer = Blip2QFormerModel(config)
        self.words = nn.Embedding(len(VOCABULARY), width)
        self.positions = nn.Parameter(0.02 * torch.randn(LONGEST, width))
        self.queries = nn.Parameter(torch.randn(1, QUERIES, width))
        self.vision_projection, self.text_projection = nn.Linear(width, dim), nn.Linear(width, dim)
        self.matching_head = nn.Linear(width, 2)
        self.temperature = nn.Parameter(torch.tensor(0.1))

    def encode_images(self, images):
        """Return the frozen features and the projected queries, one row of features for each query."""
        features = self.vision(images)
        queries = self.queries.expand(len(images), -1, -1)
        out = self.qformer(query_embeds=queries, query_length=QUERIES, encoder_hidden_states=features)
        return features, F.normalize(self.vision_projection(out.last_hidden_state), dim=-1)

    def embed_words(self, ids):
        return self.words(ids) + self.positions[: ids.shape[1]]

    def encode_texts(self, ids, mask):
        out = self.qformer(query_embeds=self.embed_words(ids), query_length=0, attention_mask=mask)
        return F.normalize(self.text_projection(mean_of_words(out.last_hidden_state, mask)), dim=-1)

    def similarity(self, image_rows, text_rows):
        """Return (texts, images): the best of a picture's queries counts."""
        return torch.einsum("td,iqd->tiq", text_rows, image_rows).amax(-1) / self.temperature

    def matching(self, features, ids, mask):
        """Return the logits of no and yes (n, 2) from queries that saw the words, compared with the words."""
        queries = self.queries.expand(len(ids), -1, -1)
        inputs = torch.cat([queries, self.embed_words(ids)], 1)
        both = torch.cat([mask.new_ones(len(ids), QUERIES), mask], 1)
        out = self.qformer(
            query_embeds=inputs, query_length=QUERIES, attention_mask=both, encoder_hidden_states=features
        ).last_hidden_state
        return self.matching_head(out[:, :QUERIES].mean(1) * mean_of_words(out[:, QUERIES:], mask))

    def forward(self, images, ids, mask):
        features, image_rows = self.encode_images(images)
        logits = self.similarity(image_rows, self.encode_texts(ids, mask))
        targets = torch.arange(len(logits))
        contrast = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2

        with torch.no_grad():
            weights = (logits / 4).softmax(1).fill_diagonal_(0) + 1e-6
            other_image = torch.multinomial(weights, 1).squeeze(1)
            weights = (logits.T / 4).softmax(1).fill_diagonal_(0) + 1e-6
            other_text = torch.multinomial(weights, 1).squeeze(1)
        scores = self.matching(
            torch.cat([features, features[other_image], features]),
            torch.cat([ids, ids, ids[other_text]]),
            torch.cat([mask, mask, mask[other_text]]),
        )
        labels = torch.cat([torch.ones(len(ids)), torch.zeros(2 * len(ids))]).long()
        return contrast, F.cross_entropy(scores, labels)


@torch.no_grad()
def recall_at_1(model, images, ids, mask, candidates=8):
    model.eval()
    features, image_rows = model.encode_images(images)
    contrast, best = model.similarity(image_rows, model.encode_texts(ids, mask)).topk(candidates)
    flat = best.flatten()
    match = model.matching(features[flat], ids.repeat_interleave(candidates, 0), mask.repeat_interleave(candidates, 0))
    score = contrast + (match[:, 1] - match[:, 0]).view(best.shape)
    chosen = score.argmax(1, keepdim=True)
    return (best.gather(1, chosen).squeeze(1) == torch.arange(len(ids))).float().mean().item()


def pretrain(vision, seed, steps=80):
    """Learn to name colour, shape, place and size of pictures from the tokens."""
    pairs = toy_pairs(1152, seed + 500, image_size=24)
    images, attributes = (pairs.images - 0.5) / 0.25, (pairs.colour, pairs.shape, pairs.place, pairs.size)
    heads = nn.ModuleList([nn.Linear(4 * 64, int(each.max()) + 1) for each in attributes])
    optimizer = torch.optim.Adam([*vision.parameters(), *heads.parameters()], lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(images), (64,))
        tokens = vision(images[rows]).flatten(1)
        loss = sum(F.cross_entropy(head(tokens), each[rows]) for head, each in zip(heads, attributes, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"pretrained, loss {loss.item():.3f}")


def tensors(n, seed):
    pairs = toy_pairs(n, seed, image_size=24)
    return ((pairs.images - 0.5) / 0.25, *tokenize(caption_of(pairs, wording=0), LONGEST))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    torch.manual_seed(seed)
    torch.set_num_threads(1)

    train = DataLoader(TensorDataset(*tensors(1152, seed)), batch_size=24, shuffle=True, drop_last=True)
    vision = FrozenEncoder()
    pretrain(vision, seed)
    model = QFormer(vision)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=STEPS, pct_start=0.1)
    step = 0
    while step < STEPS:
        for images, ids, mask in train:
            model.train()
            contrast, matching = model(images, ids, mask)
            loss = contrast + matching
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            step += 1
            if step % 10 == 0:
                print(f"step {step} itc {contrast.item():.4f} itm {matching.item():.4f}")
            if step == STEPS:
                break
    print(f"measure recall@1 {recall_at_1(model, *tensors(96, seed + 1000)):.4f}")


if __name__ == "__main__":
    main()
