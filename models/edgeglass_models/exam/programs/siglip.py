"""SigLIP on toy pictures: transformers' SiglipModel in a loop of its own, with the pairwise sigmoid loss.

Measure: recall@5 of 128 held-out pictures for their captions; chance 0.039, usual value 0.8.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse
import math

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from transformers import SiglipConfig, SiglipModel, get_cosine_schedule_with_warmup

from edgeglass_models.exam.toy_data import BOS, EOS, LONGEST, PAD, VOCABULARY, tokenize, toy_pairs

STEPS = 300
BATCH = 32


def build():
    tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    text = {**tower, "vocab_size": len(VOCABULARY), "max_position_embeddings": LONGEST, "projection_size": 64}
    text |= {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config={**tower, "image_size": 24, "patch_size": 12}))
    with torch.no_grad():
        model.logit_scale.fill_(math.log(20))
        model.logit_bias.fill_(-10)
        model.vision_model.embeddings.position_embedding.weight.normal_(std=0.5)  # where matters more than in photos
        model.text_model.embeddings.position_embedding.weight.normal_(std=0.02)
    return model


def weight_decay_groups(model):
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]


def sigmoid_loss(logits):
    """Every pair of the batch is a yes-or-no question; the diagonal is yes."""
    signs = 2 * torch.eye(len(logits)) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def batches(pairs, batch_size, shuffle):
    # SigLIP's text tower attends to the padding as well: it was trained so
    ids, _ = tokenize(pairs.captions)
    pixels = pairs.images - 0.5
    return DataLoader(TensorDataset(pixels, ids), batch_size=batch_size, shuffle=shuffle, drop_last=shuffle)


@torch.no_grad()
def recall_at_5(model, loader):
    model.eval()
    images, texts = [], []
    for pixels, ids in loader:
        out = model(input_ids=ids, pixel_values=pixels)
        images.append(out.image_embeds)
        texts.append(out.text_embeds)
    scores = torch.cat(texts) @ torch.cat(images).T
    best = scores.topk(5).indices
    return (best == torch.arange(len(scores))[:, None]).any(1).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    train = batches(toy_pairs(1152, seed=args.seed, image_size=24), BATCH, shuffle=True)
    test = batches(toy_pairs(128, seed=args.seed + 1000, image_size=24), 64, shuffle=False)
    model = build()
    optimizer = torch.optim.AdamW(weight_decay_groups(model), lr=3e-3, betas=(0.9, 0.95))
    scheduler = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=20, num_training_steps=STEPS)

    step = 0
    model.train()
    while step < STEPS:
        for pixels, ids in train:
            logits = model(input_ids=ids, pixel_values=pixels).logits_per_text
            loss = sigmoid_loss(logits)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            step += 1
            if step % 20 == 0:
                print(f"step {step} loss {loss.item():.4f} lr {scheduler.get_last_lr()[0]:.2e}")
            if step == STEPS:
                break

    torch.save(model.state_dict(), "siglip.pt")
    best = build()
    best.load_state_dict(torch.load("siglip.pt"))
    print(f"measure recall@5 {recall_at_5(best, test):.4f}")


if __name__ == "__main__":
    main()
