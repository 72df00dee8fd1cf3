"""ClipCap: features of a frozen vision encoder become a prefix of word embeddings that a small GPT-2 goes on from.

The encoder is pretrained here for a moment on the attributes of other pictures.
Measure: share of 192 new pictures whose greedy caption is right in every word; chance 0.002, usual value 0.8.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as nnf
from torch.optim import AdamW
from torch.utils.data import DataLoader, Dataset
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup

from edgeglass_models.exam.toy_data import EOS, PAD, VOCABULARY, caption_of, tokenize, toy_pairs

FEATURES = 96
MAX_SEQ_LEN = 12


class ClipCocoDataset(Dataset):
    """Captions as tokens, the mask of prefix and tokens, and the encoder's features, computed once."""

    def __init__(self, clip_model, n, seed, prefix_length, normalize_prefix=True):
        pairs = toy_pairs(n, seed=seed, image_size=24)
        with torch.no_grad():
            self.prefixes = clip_model.eval()(pairs.images)
        if normalize_prefix:
            self.prefixes = self.prefixes / self.prefixes.norm(2, -1, keepdim=True)
        self.captions_tokens, mask = tokenize(pairs.captions)
        self.mask = torch.cat([torch.ones(n, prefix_length, dtype=torch.long), mask], dim=1)
        self.references = [set(row) for row in zip(*(caption_of(pairs, w) for w in range(4)), strict=True)]

    def __len__(self):
        return len(self.captions_tokens)

    def __getitem__(self, item):
        return self.captions_tokens[item], self.mask[item], self.prefixes[item]


def vision_encoder():
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, stride=2, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48 * 36, FEATURES),
    )


def pretrain(encoder, seed, steps=80):
    """Learn to name colour, shape, place and size of pictures."""
    pairs = toy_pairs(1152, seed=seed + 500, image_size=24)
    attributes = torch.stack([pairs.colour, pairs.shape, pairs.place, pairs.size], 1)
    heads = nn.ModuleList([nn.Linear(FEATURES, int(attributes[:, i].max()) + 1) for i in range(4)])
    optimizer = torch.optim.Adam([*encoder.parameters(), *heads.parameters()], lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(pairs), (64,))
        features = encoder(pairs.images[rows])
        loss = sum(nnf.cross_entropy(head(features), attributes[rows, i]) for i, head in enumerate(heads))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"pretrained, loss {loss.item():.3f}")


class MLP(nn.Module):
    def __init__(self, sizes, bias=True, act=nn.Tanh):
        super().__init__()
        layers = []
        for i in range(len(sizes) - 1):
            layers.append(nn.Linear(sizes[i], sizes[i + 1], bias=bias))
            if i < len(sizes) - 2:
                layers.append(act())
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


class ClipCaptionModel(nn.Module):
    def __init__(self, prefix_length, prefix_size=FEATURES):
        super().__init__()
        self.prefix_length = prefix_length
        config = GPT2Config(
            vocab_size=len(VOCABULARY), n_positions=32, n_embd=64, n_layer=2, n_head=4, initializer_range=0.1,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=EOS,
        )  # fmt: skip
        self.gpt = GPT2LMHeadModel(config)
        self.gpt_embedding_size = self.gpt.transformer.wte.weight.shape[1]
        self.clip_project = MLP((prefix_size, 2 * self.gpt_embedding_size, self.gpt_embedding_size * prefix_length))

    def forward(self, tokens, prefix, mask=None):
        embedding_text = self.gpt.transformer.wte(tokens)
        prefix_projections = self.clip_project(prefix).view(-1, self.prefix_length, self.gpt_embedding_size)
        embedding_cat = torch.cat((prefix_projections, embedding_text), dim=1)
        return self.gpt(inputs_embeds=embedding_cat, attention_mask=mask)


@torch.no_grad()
def generate(model, prefix):
    """Greedy captions, all rows at once."""
    tokens = torch.zeros(len(prefix), 0, dtype=torch.long)
    for _ in range(MAX_SEQ_LEN):
        logits = model(tokens, prefix).logits[:, -1]
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
    words = [[VOCABULARY[i] for i in row] for row in tokens.tolist()]
    return [" ".join(row[1 : row.index("<eos>")] if "<eos>" in row else row) for row in words]


def train(dataset, model, epochs, lr, batch_size=48, warmup_steps=20):
    model.train()
    optimizer = AdamW(model.parameters(), lr=lr)
    train_dataloader = DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)
    scheduler = get_linear_schedule_with_warmup(optimizer, warmup_steps, epochs * len(train_dataloader))
    for epoch in range(epochs):
        for tokens, mask, prefix in train_dataloader:
            model.zero_grad()
            outputs = model(tokens, prefix, mask)
            logits = outputs.logits[:, model.prefix_length - 1 : -1]
            loss = nnf.cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens.flatten(), ignore_index=PAD)
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        print(f">>> Training epoch {epoch}: loss {loss.item():.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prefix_length", type=int, default=4)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    clip_model = vision_encoder()
    pretrain(clip_model, args.seed)
    dataset = ClipCocoDataset(clip_model, 1152, args.seed, args.prefix_length)
    test = ClipCocoDataset(clip_model, 192, args.seed + 1000, args.prefix_length)
    model = ClipCaptionModel(args.prefix_length)
    train(dataset, model, epochs=9, lr=3e-3)

    model.eval()
    captions = generate(model, test.prefixes)
    right = sum(caption in known for caption, known in zip(captions, test.references, strict=True))
    print(f"measure caption_accuracy {right / len(captions):.4f}")


if __name__ == "__main__":
    main()
