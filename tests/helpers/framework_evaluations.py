"""Trainings in the frameworks that validate: healthy ones, and the same with a fault of the validation.

Each takes the folder of the record and the name of the fault, and returns its losses.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()

from sentence_transformers.sentence_transformer import evaluation

from tests.helpers import framework_trainings as trainings
from tests.helpers.evaluating import Classifier, pictures
from tests.helpers.framework_trainings import (
    DataLoader,
    F,
    Pooling,
    TensorDataset,
    Transformer,
    datasets,
    diagnose_of,
    lightning,
    losses,
    nn,
    sentence_transformers,
    torch,
    transformers,
)

ROWS, BATCH, EPOCHS = 96, 16, 3
STEPS = EPOCHS * ROWS // BATCH
WORDS = [f"w{number}" for number in range(40)]


def samples(seed, fault):
    """Return pictures and classes; those of a validation may lack the normalisation."""
    x, y = pictures(seed, ROWS)
    return (torch.sigmoid(x) if fault == "pictures" and seed else x), y


class Lit(lightning.LightningModule):
    def __init__(self, fault):
        super().__init__()
        self.net, self.fault, self.losses = Classifier(), fault, []

    def training_step(self, batch, index):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def on_validation_model_eval(self):
        if self.fault != "mode":
            super().on_validation_model_eval()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def validate_lightning(out, fault):
    lightning.seed_everything(0, verbose=False)
    model = Lit(fault)
    fitting = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, inference_mode=fault != "no inference mode",
        callbacks=[diagnose_of("lightning", out)] if out else [],
    )  # fmt: skip
    fitting.fit(
        model,
        DataLoader(TensorDataset(*samples(0, fault)), BATCH),
        DataLoader(TensorDataset(*samples(1, fault)), BATCH),
    )
    return model.losses


class Answering(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Classifier()

    def forward(self, pixel_values, labels=None):
        logits = self.net(pixel_values)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class Pictures(torch.utils.data.Dataset):
    def __init__(self, seed, fault):
        self.rows = TensorDataset(*samples(seed, fault))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return dict(zip(("pixel_values", "labels"), self.rows[index], strict=True))


class OwnEvaluation(transformers.Trainer):
    """A loop of its own in the place of the Trainer's: without ``eval()``, or without ``no_grad()``."""

    fault = ""

    def evaluate(self, *arguments, **keywords):
        self.model.train(self.fault == "mode")
        with torch.set_grad_enabled(self.fault == "gradients"):
            told = [self.model(**batch)["loss"] for batch in self.get_eval_dataloader()]
        self.model.train()
        metrics = {"eval_loss": torch.stack(told).mean().item()}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def validate_transformers(out, fault):
    transformers.set_seed(0)
    kind = OwnEvaluation if fault in ("mode", "gradients", "own") else transformers.Trainer
    trainer = kind(
        model=Answering(),
        args=trainings.arguments(
            transformers.TrainingArguments, EPOCHS, eval_strategy="epoch", per_device_eval_batch_size=BATCH,
            eval_on_start=True,
        ),
        train_dataset=Pictures(0, fault),
        eval_dataset=Pictures(1, fault),
        callbacks=[diagnose_of("transformers", out)] if out else None,
    )  # fmt: skip
    trainer.fault = fault
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


class Normalised(nn.Module):
    """BatchNorm behind the pooling."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16)

    def forward(self, features, **keywords):
        return {**features, "sentence_embedding": self.norm(features["sentence_embedding"])}


class Handwritten(evaluation.SentenceEvaluator):
    """Embeds by the model itself, in the mode of the training, and ranks by hand."""

    primary_metric = "recall"

    def __init__(self, sentences):
        super().__init__()
        self.sentences = sentences

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        model.train()
        sides = []
        with torch.no_grad():
            for texts in self.sentences:
                parts = [model(model.tokenize(texts[i : i + 16])) for i in range(0, len(texts), 16)]
                sides.append(F.normalize(torch.cat([part["sentence_embedding"] for part in parts]), dim=-1))
        found = (sides[0] @ sides[1].T).argmax(1)
        return {"recall": (found == torch.arange(len(found))).float().mean().item()}


def sentences(seed):
    draw = torch.Generator().manual_seed(seed)
    return [" ".join(WORDS[i] for i in torch.randint(40, (4,), generator=draw)) for _ in range(ROWS)]


def evaluator(fault):
    """Return an evaluator of sentence-transformers."""
    texts = sentences(1)
    others = [" ".join(reversed(text.split())) for text in texts]
    if fault == "similarity":
        scores = [1.0 if index % 2 else 0.0 for index in range(ROWS)]
        second = [other if index % 2 else others[index - 1] for index, other in enumerate(others)]
        return evaluation.EmbeddingSimilarityEvaluator(texts, second, scores, batch_size=16)
    if fault == "mode":
        return Handwritten((texts, others))
    queries = {f"q{index}": text for index, text in enumerate(texts)}
    corpus = {f"d{index}": text for index, text in enumerate(others)}
    relevant = {f"q{index}": {f"d{index}"} for index in range(ROWS)}
    return evaluation.InformationRetrievalEvaluator(queries, corpus, relevant, batch_size=16)


def validate_sentence_transformers(out, fault):
    transformers.set_seed(0)
    trainings.make_bert()
    model = sentence_transformers.SentenceTransformer(
        modules=[Transformer("bert"), Pooling(16, "mean"), Normalised()], device="cpu"
    )
    rows = sentences(0)
    pairs = {"anchor": rows, "positive": [" ".join(reversed(row.split())) for row in rows]}
    trainer = sentence_transformers.SentenceTransformerTrainer(
        model=model,
        args=trainings.arguments(
            sentence_transformers.SentenceTransformerTrainingArguments, EPOCHS, eval_strategy="epoch"
        ),
        train_dataset=datasets.Dataset.from_dict(pairs),
        eval_dataset=datasets.Dataset.from_dict(pairs) if fault == "loss" else None,
        evaluator=evaluator(fault),
        loss=losses.MultipleNegativesRankingLoss(model, scale=20),
        callbacks=[diagnose_of("sentence_transformers", out)] if out else None,
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


VALIDATIONS: dict[str, Callable[[str, str], list[float]]] = {
    "lightning": validate_lightning,
    "transformers": validate_transformers,
    "sentence_transformers": validate_sentence_transformers,
}
