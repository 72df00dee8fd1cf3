"""LLaVA in small: a frozen CLIP vision tower, an MLP projector and a Llama that answers questions about the picture.

The tower is pretrained here for a moment on the attributes of other pictures.
The loss is that of the answer's tokens alone: the prompt's targets are -100.
Measure: exact match of the generated answers to 192 questions about new pictures; chance 0.09, usual value 0.9.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    get_cosine_schedule_with_warmup,
)

from edgeglass_models.exam.toy_data import COLOURS, SIZES, toy_pairs

WORDS = ["<pad>", "<bos>", "<eos>", "<image>", "what", "is", "the", "its", "?", "colour", "and", "size"]
WORDS += [*COLOURS, *SIZES]
PAD, BOS, EOS, IMAGE = range(4)
PATCHES = 4
QUESTIONS = ("what is the colour ?", "what is its colour and size ?")


class Questions(Dataset):
    def __init__(self, n, seed):
        self.pairs = toy_pairs(n, seed, image_size=24)
        self.ids = {word: i for i, word in enumerate(WORDS)}

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        question = QUESTIONS[index % 2]
        answer = [list(COLOURS)[self.pairs.colour[index]]]
        if "size" in question:
            answer.append(SIZES[self.pairs.size[index]])
        prompt = [BOS, *[IMAGE] * PATCHES, *(self.ids[word] for word in question.split())]
        return (self.pairs.images[index] - 0.5) / 0.25, prompt, [*(self.ids[word] for word in answer), EOS]


def padded(rows, side, value):
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, value, side)


def collate(rows):
    """Pad on the right for training, and the prompts alone on the left for generation."""
    pixels, prompts, answers = zip(*rows, strict=True)
    both = list(zip(prompts, answers, strict=True))
    ids = padded([prompt + answer for prompt, answer in both], "right", PAD)
    labels = padded([[-100] * len(prompt) + answer for prompt, answer in both], "right", -100)
    batch = {"input_ids": ids, "attention_mask": (ids != PAD).long(), "labels": labels}
    return batch | {"pixel_values": torch.stack(pixels)}, padded(prompts, "left", PAD), padded(answers, "right", PAD)


def build():
    small = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    vision = CLIPVisionConfig(**small, num_hidden_layers=1, image_size=24, patch_size=12)
    text = LlamaConfig(
        **small,
        num_hidden_layers=2,
        vocab_size=len(WORDS),
        max_position_embeddings=64,
        initializer_range=0.1,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        image_seq_length=PATCHES,
    )
    model = LlavaForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.vision_tower.embeddings.position_embedding.weight, std=0.5)
    return model


def pretrain(tower, seed, steps=80):
    """Learn to name colour and size of pictures, from the mean of the tower's tokens."""
    pairs = toy_pairs(1152, seed + 500, image_size=24)
    images = (pairs.images - 0.5) / 0.25
    heads = nn.ModuleList([nn.Linear(64, len(COLOURS)), nn.Linear(64, len(SIZES))])
    optimizer = torch.optim.Adam([*tower.parameters(), *heads.parameters()], lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(images), (64,))
        features = tower(pixel_values=images[rows]).last_hidden_state.mean(1)
        labels = (pairs.colour[rows], pairs.size[rows])
        loss = sum(nn.functional.cross_entropy(head(features), each) for head, each in zip(heads, labels, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"pretrained, loss {loss.item():.3f}")
    tower.requires_grad_(False)


@torch.no_grad()
def exact_match(model, loader):
    model.eval()
    hits = []
    for batch, prompts, answers in loader:
        inputs = {
            "input_ids": prompts,
            "attention_mask": (prompts != PAD).long(),
            "pixel_values": batch["pixel_values"],
        }
        out = model.generate(**inputs, max_new_tokens=3, do_sample=False)
        generated = out[:, prompts.shape[1] :]
        hits.append((generated[:, : answers.shape[1]] == answers).all(1))
    return torch.cat(hits).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    torch.manual_seed(seed)
    torch.set_num_threads(1)

    train = DataLoader(Questions(1152, seed), batch_size=32, shuffle=True, collate_fn=collate)
    test = DataLoader(Questions(192, seed + 1000), batch_size=64, collate_fn=collate)
    epochs = 7
    model = build()
    pretrain(model.model.vision_tower, seed)
    projector = list(model.model.multi_modal_projector.parameters())
    language = [*model.model.language_model.parameters(), *model.lm_head.parameters()]
    optimizer = torch.optim.AdamW([{"params": projector}, {"params": language}], lr=3e-3, weight_decay=0.01)
    scheduler = get_cosine_schedule_with_warmup(optimizer, 15, epochs * len(train))

    for epoch in range(epochs):
        model.train()
        model.model.vision_tower.eval()
        for batch, _, _ in train:
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*projector, *language], 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        print(f"epoch {epoch} loss {loss.item():.4f}")

    print(f"measure exact_match {exact_match(model, test):.4f}")


if __name__ == "__main__":
    main()
