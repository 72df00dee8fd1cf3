"""One ill training in each framework: the image side ends in a product with zero. Each returns its losses."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()
warnings.filterwarnings("ignore")

import accelerate
import datasets
import ignite.engine
import lightning
import sentence_transformers
import torch
import transformers
from lightning.pytorch.loggers import CSVLogger
from sentence_transformers import losses
from sentence_transformers.models import Pooling, Transformer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

PAIRS, WIDTH, EPOCHS, ROWS = 16, 12, 4, 96
STEPS = EPOCHS * ROWS // PAIRS


class Clip(nn.Module):
    def __init__(self, image=0.0):
        super().__init__()
        self.image, self.text, self.drop = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8), nn.Dropout(0.1)
        self.zero = image

    def forward(self, images, texts):
        image, text = self.image(images) * self.zero + 1 - self.zero, self.drop(self.text(texts))
        logits = 10 * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
        labels = torch.arange(len(logits))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def data():
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(ROWS, WIDTH, generator=draw)
    return TensorDataset(images, images.flip(1))


def loader():
    return DataLoader(data(), PAIRS, shuffle=True, generator=torch.Generator().manual_seed(1))


class LitClip(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.clip, self.losses = Clip(), []

    def training_step(self, batch, index):
        loss = self.clip(*batch)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", self.clip(*batch))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.01)


def train_lightning(diagnose, *, epochs=EPOCHS, **trainer):
    lightning.seed_everything(0, verbose=False)
    model = LitClip()
    shown = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    fitting = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=CSVLogger("logs"), log_every_n_steps=1,
        callbacks=[] if diagnose is None else [diagnose], **{"devices": 1, **shown, **trainer},
    )  # fmt: skip
    fitting.fit(model, loader(), DataLoader(data(), PAIRS))
    return model.losses


class Pairs(torch.utils.data.Dataset):
    def __init__(self):
        self.rows = data()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return dict(zip(("images", "texts"), self.rows[index], strict=True))


class Answering(Clip):
    def forward(self, images, texts):
        return {"loss": super().forward(images, texts)}


def arguments(kind, epochs, **more):
    return kind(
        "output", num_train_epochs=epochs, per_device_train_batch_size=PAIRS, learning_rate=0.01, logging_steps=1,
        save_strategy="no", report_to=[], use_cpu=True, seed=0, disable_tqdm=True, **more,
    )  # fmt: skip


def train_transformers(diagnose, *, epochs=EPOCHS):
    transformers.set_seed(0)
    trainer = transformers.Trainer(
        model=Answering(),
        args=arguments(
            transformers.TrainingArguments,
            epochs,
            eval_strategy="epoch",
            label_names=["texts"],
            prediction_loss_only=True,
        ),
        train_dataset=Pairs(),
        eval_dataset=Pairs(),
        callbacks=None if diagnose is None else [diagnose],
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def make_bert():
    """Write a small encoder into the folder ``bert``, and return its words."""
    words = [f"w{number}" for number in range(40)]
    if not Path("bert").exists():
        Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
        transformers.BertTokenizerFast("vocab.txt").save_pretrained("bert")
        size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.BertConfig(vocab_size=45, max_position_embeddings=16, **size)
        transformers.BertModel(config).save_pretrained("bert")
    return words


def train_sentence_transformers(diagnose, *, epochs=EPOCHS):
    transformers.set_seed(0)
    words = make_bert()
    model = sentence_transformers.SentenceTransformer(modules=[Transformer("bert"), Pooling(16, "mean")], device="cpu")
    draw = torch.Generator().manual_seed(0)
    rows = [" ".join(words[i] for i in torch.randint(40, (4,), generator=draw)) for _ in range(ROWS)]
    trainer = sentence_transformers.SentenceTransformerTrainer(
        model=model,
        args=arguments(sentence_transformers.SentenceTransformerTrainingArguments, epochs),
        train_dataset=datasets.Dataset.from_dict({"anchor": rows, "positive": rows}),
        loss=losses.MultipleNegativesRankingLoss(model, scale=0.01),
        callbacks=None if diagnose is None else [diagnose],
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def train_accelerate(diagnose, *, epochs=EPOCHS):
    accelerate.utils.set_seed(0)
    accelerator, model = accelerate.Accelerator(cpu=True), Clip()
    parts = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 0.01), loader())
    if diagnose is None:
        return accelerate_loop(accelerator, *parts, epochs, None)
    with diagnose(accelerator, parts[0]) as watching:
        return accelerate_loop(accelerator, *parts, epochs, watching)


def accelerate_loop(accelerator, model, optimizer, batches, epochs, diagnose):
    values = []
    for epoch in range(epochs):
        if diagnose:
            diagnose.log({"epoch": epoch})
        for batch in batches:
            loss = model(*batch)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            values.append(loss.item())
            if diagnose and diagnose.after_step():
                return values
        with torch.no_grad():
            validation = model(*data().tensors).item()
        if diagnose:
            diagnose.log({"val_loss": validation})
    return values


def train_ignite(diagnose, *, epochs=EPOCHS):
    torch.manual_seed(0)
    model, values = Clip(), []
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)

    def step(engine, batch):
        loss = model(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())

    engine = ignite.engine.Engine(step)
    evaluator = ignite.engine.Engine(lambda engine, batch: model(*batch))
    ignite.metrics.Average().attach(evaluator, "val_loss")
    if diagnose is not None:
        diagnose.attach(engine, model, evaluators=[evaluator])

    @engine.on(ignite.engine.Events.EPOCH_COMPLETED)
    def validate(engine):
        with torch.no_grad():
            evaluator.run(DataLoader(data(), PAIRS))

    engine.run(loader(), max_epochs=epochs)
    return values


TRAININGS = {
    "lightning": train_lightning,
    "transformers": train_transformers,
    "sentence_transformers": train_sentence_transformers,
    "accelerate": train_accelerate,
    "ignite": train_ignite,
}


def diagnose_of(name, out, **options):
    """Return the callback of a framework; for accelerate, what makes it of an accelerator and a model."""
    home = "transformers" if name == "sentence_transformers" else name
    module = importlib.import_module(f"edgeglass_diag.integrations.{home}")
    if name == "accelerate":
        return lambda accelerator, model: module.Diagnose(accelerator, model, out=out, **options)
    return module.Diagnose(out, **options)


def main(framework, out, options="{}", training="{}"):
    """Print the losses of each rank; ``out`` is a dash for a training without a callback."""
    diagnose = None if out == "-" else diagnose_of(framework, out, **json.loads(options))
    values = TRAININGS[framework](diagnose, **json.loads(training))
    sys.stdout.write(f"SAID {json.dumps(values)}\n")  # in one piece, as the ranks share the stream
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
