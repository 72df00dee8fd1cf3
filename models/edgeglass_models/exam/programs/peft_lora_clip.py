"""CLIP with LoRA: peft adapters in a frozen BertModel, beside an image encoder that is trained whole.

Measure: recall@1 of 128 held-out pictures for their captions; chance 0.008, usual value 0.6.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertModel

from edgeglass_models.exam.toy_data import VOCABULARY, tokenize, toy_pairs

TEMPERATURE = 0.07
EPOCHS = 7


def image_encoder():
    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=4, stride=4),
        nn.GELU(),
        nn.Conv2d(64, 64, kernel_size=3, stride=2, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(64 * 9, 64),
    )


def base_text_tower():
    """Stands for a downloaded model: made once, saved, and always loaded from its folder."""
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=16,
        initializer_range=0.1,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained("base")
    return BertModel.from_pretrained("base", add_pooling_layer=False)


def embed_text(tower, projection, ids, mask):
    hidden = tower(input_ids=ids, attention_mask=mask).last_hidden_state
    pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return F.normalize(projection(pooled), dim=-1)


def loader(n, seed, batch_size, shuffle):
    pairs = toy_pairs(n, seed, image_size=24)
    ids, mask = tokenize(pairs.captions)
    images = (pairs.images - 0.5) / 0.25
    return DataLoader(TensorDataset(images, ids, mask), batch_size=batch_size, shuffle=shuffle, drop_last=shuffle)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    torch.manual_seed(seed)
    torch.set_num_threads(1)

    train, test = loader(1152, seed, 48, shuffle=True), loader(128, seed + 1000, 128, shuffle=False)
    images_to_features, projection = image_encoder(), nn.Linear(64, 64)
    lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=["query", "value", "dense"])
    tower = get_peft_model(base_text_tower(), lora)
    tower.print_trainable_parameters()

    adapters = [p for p in tower.parameters() if p.requires_grad]
    heads = [*images_to_features.parameters(), *projection.parameters()]
    optimizer = torch.optim.AdamW(
        [{"params": adapters, "lr": 2e-3, "weight_decay": 0.0}, {"params": heads, "lr": 2e-3, "weight_decay": 0.01}]
    )
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=EPOCHS * len(train))

    for epoch in range(EPOCHS):
        tower.train()
        for images, ids, mask in train:
            optimizer.zero_grad()
            image_features = F.normalize(images_to_features(images), dim=-1)
            text_features = embed_text(tower, projection, ids, mask)
            logits = text_features @ image_features.T / TEMPERATURE
            targets = torch.arange(len(logits))
            loss = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")

    tower.save_pretrained("adapter")
    tower = PeftModel.from_pretrained(BertModel.from_pretrained("base", add_pooling_layer=False), "adapter")
    tower.eval()
    images_to_features.eval()
    with torch.no_grad():
        images, ids, mask = next(iter(test))
        scores = embed_text(tower, projection, ids, mask) @ F.normalize(images_to_features(images), dim=-1).T
    recall = (scores.argmax(1) == torch.arange(len(scores))).float().mean().item()
    print(f"measure recall@1 {recall:.4f}")


if __name__ == "__main__":
    main()
