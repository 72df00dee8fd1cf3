"""LLaVA in small: a frozen CLIP vision tower, an MLP projector and a Llama that answers questions about the picture.

The loss is that of the answer's tokens alone: the prompt's targets are -100.
Measure: exact match of the generated answers to 192 questions about new pictures; chance 0.25.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    get_cosine_schedule_with_warmup,
)

from edgeglass_models.exam.toy_data import COLOURS, PLACES, SIZES, toy_pairs

WORDS = ["<pad>", "<bos>", "<eos>", "<image>", "what", "which", "is", "the", "its", "?", "colour", "size", "place"]
WORDS += [*COLOURS, *SIZES, *PLACES]
PAD, BOS, EOS, IMAGE = range(4)
PATCHES = 9
QUESTIONS = {
    "colour": ("what is the colour ?", tuple(COLOURS)),
    "size": ("which is its size ?", SIZES),
    "place": ("what is its place ?", PLACES),
}


class Questions(Dataset):
    def __init__(self, n, seed):
        self.pairs = toy_pairs(n, seed, image_size=24)
        self.ids = {word: i for i, word in enumerate(WORDS)}

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        attribute = list(QUESTIONS)[index % 3]
        question, answers = QUESTIONS[attribute]
        answer = answers[getattr(self.pairs, attribute)[index]]
        prompt = [BOS, *[IMAGE] * PATCHES, *(self.ids[word] for word in question.split())]
        return (self.pairs.images[index] - 0.5) / 0.25, prompt, [self.ids[answer], EOS]


def collate(rows):
    """Pad on the left, so that generation may continue from every prompt."""
    longest = max(len(prompt) + len(answer) for _, prompt, answer in rows)
    ids, labels = torch.full((len(rows), longest), PAD), torch.full((len(rows), longest), -100)
    for row, (_, prompt, answer) in enumerate(rows):
        ids[row, longest - len(prompt) - len(answer) :] = torch.tensor(prompt + answer)
        labels[row, longest - len(answer) :] = torch.tensor(answer)
    pixels = torch.stack([pixels for pixels, _, _ in rows])
    return {"pixel_values": pixels, "input_ids": ids, "attention_mask": (ids != PAD).long(), "labels": labels}


def build():
    small = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    vision = CLIPVisionConfig(**small, num_hidden_layers=1, image_size=24, patch_size=8, initializer_factor=4.0)
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
    model.model.vision_tower.requires_grad_(False)
    return model


@torch.no_grad()
def exact_match(model, loader):
    model.eval()
    hits = []
    for batch in loader:
        labels = batch.pop("labels")
        prompts = {key: value if key == "pixel_values" else value[:, :-2] for key, value in batch.items()}
        answers = model.generate(**prompts, max_new_tokens=2, do_sample=False, pad_token_id=PAD)[:, -2:]
        hits.append((answers == labels[:, -2:]).all(1))
    return torch.cat(hits).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    torch.manual_seed(seed)
    torch.set_num_threads(1)

    train = DataLoader(Questions(1152, seed), batch_size=32, shuffle=True, collate_fn=collate)
    test = DataLoader(Questions(192, seed + 1000), batch_size=64, collate_fn=collate)
    epochs = 5
    model = build()
    projector = list(model.model.multi_modal_projector.parameters())
    language = [*model.model.language_model.parameters(), *model.lm_head.parameters()]
    optimizer = torch.optim.AdamW([{"params": projector}, {"params": language}], lr=3e-3, weight_decay=0.01)
    scheduler = get_cosine_schedule_with_warmup(optimizer, 15, epochs * len(train))

    for epoch in range(epochs):
        model.train()
        model.model.vision_tower.eval()
        for batch in train:
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
