"""Semantic similarity between languages: SentenceTransformerTrainer with CosineSimilarityLoss on graded pairs.

An English and a German caption are as alike as the share of attributes that they agree in.
Measure: Spearman correlation of cosine and true likeness on 400 held-out pairs; chance 0, usual value 0.9.
"""

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

import argparse
import random

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.losses import CosineSimilarityLoss
from sentence_transformers.models import Dense, Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast, set_seed

ENGLISH = [["red", "green", "blue", "yellow"], ["circle", "square", "triangle"], ["small", "large"], ["old", "new"]]
GERMAN = [["rot", "gruen", "blau", "gelb"], ["kreis", "quadrat", "dreieck"], ["klein", "gross"], ["alt", "neu"]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def graded_pairs(n, rng):
    """Pairs that agree in 0 to 4 attributes, each number about equally often."""
    rows = {"sentence1": [], "sentence2": [], "score": []}
    for _ in range(n):
        first = [rng.randrange(len(words)) for words in ENGLISH]
        kept = set(rng.sample(range(4), rng.randint(0, 4)))
        second = [code if i in kept else rng.randrange(len(ENGLISH[i])) for i, code in enumerate(first)]
        colour, shape, size, age = (words[code] for words, code in zip(ENGLISH, first, strict=True))
        wordings = (f"a {size} {age} {colour} {shape}", f"the {shape} is {colour} {age} {size}")
        rows["sentence1"].append(rng.choice(wordings))
        farbe, form, groesse, alter = (words[code] for words, code in zip(GERMAN, second, strict=True))
        rows["sentence2"].append(f"ein {form} {farbe} {groesse} und {alter}")
        rows["score"].append(sum(a == b for a, b in zip(first, second, strict=True)) / 4)
    return Dataset.from_dict(rows)


def build(sentences, folder="distilbert"):
    words = sorted({word for sentence in sentences for word in sentence.split()})
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = DistilBertConfig(vocab_size=len(vocabulary), dim=64, n_layers=1, n_heads=4, hidden_dim=128)
    DistilBertModel(config).save_pretrained(folder)
    return SentenceTransformer(
        modules=[Transformer(folder, max_seq_length=16), Pooling(64, "mean"), Dense(64, 48)], device="cpu"
    )


def spearman(model, pairs):
    first = model.encode(pairs["sentence1"], convert_to_tensor=True)
    second = model.encode(pairs["sentence2"], convert_to_tensor=True)
    ranks = torch.stack([torch.cosine_similarity(first, second), torch.tensor(pairs["score"])]).argsort(1).argsort(1)
    return torch.corrcoef(ranks.float())[0, 1].item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    set_seed(seed)
    torch.set_num_threads(1)

    rng = random.Random(seed)
    train, test = graded_pairs(2000, rng), graded_pairs(400, rng)
    model = build([*train["sentence1"], *train["sentence2"]])
    arguments = SentenceTransformerTrainingArguments(
        output_dir="output",
        num_train_epochs=4,
        per_device_train_batch_size=64,
        learning_rate=3e-3,
        warmup_ratio=0.1,
        lr_scheduler_type="linear",
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=20,
        save_strategy="epoch",
        save_total_limit=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=seed,
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=train, loss=CosineSimilarityLoss(model)
    )
    trainer.train()
    print(f"measure spearman {spearman(model, test):.4f}")


if __name__ == "__main__":
    main()
