"""pytorch-ignite: a trainer and an evaluator engine, a text regressor with padding, checkpoint of the best model.

Each word has a hidden sentiment, a text's score is the mean of its words', turned around by a final "not".
Measure: R2 on new texts; a constant gives 0, usual value 0.98.
"""

import argparse

import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import ModelCheckpoint, TerminateOnNan, create_lr_scheduler_with_warmup
from ignite.metrics import MeanSquaredError, RunningAverage
from ignite.metrics.regression import R2Score
from torch import nn, optim
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

WORDS, NOT, PAD = 60, 61, 0


def make_texts(n, generator):
    """List of (word ids, score)."""
    sentiment = torch.randn(WORDS + 1, generator=torch.Generator().manual_seed(0))
    texts = []
    for _ in range(n):
        length = int(torch.randint(3, 12, (1,), generator=generator))
        words = torch.randint(1, WORDS + 1, (length,), generator=generator)
        score = 2 * sentiment[words].mean()
        if torch.rand(1, generator=generator) < 0.3:
            words, score = torch.cat([words, torch.tensor([NOT])]), -score
        texts.append((words, score))
    return texts


def collate(texts):
    words, scores = zip(*texts, strict=True)
    return pad_sequence(words, batch_first=True, padding_value=PAD), torch.stack(scores).unsqueeze(1)


class Regressor(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.embedding = nn.Embedding(WORDS + 2, dim, padding_idx=PAD)
        self.rnn = nn.GRU(dim, dim, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.05)
        self.head = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, words):
        mask = (words != PAD).unsqueeze(-1)
        states, _ = self.rnn(self.embedding(words))
        pooled = (states * mask).sum(1) / mask.sum(1)
        return self.head(self.dropout(pooled))


def run(seed, epochs, batch_size=64, lr=5e-3):
    generator = torch.Generator().manual_seed(seed)
    train_loader = DataLoader(make_texts(1600, generator), batch_size, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(make_texts(400, generator), 200, collate_fn=collate)

    model = Regressor()
    optimizer = optim.Adam(model.parameters(), lr=lr)
    criterion = nn.MSELoss()
    trainer = create_supervised_trainer(model, optimizer, criterion)
    evaluator = create_supervised_evaluator(model, metrics={"mse": MeanSquaredError(), "r2": R2Score()})

    decay = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(train_loader))
    scheduler = create_lr_scheduler_with_warmup(decay, warmup_start_value=lr / 10, warmup_duration=10)
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, "loss")

    best = ModelCheckpoint(
        "checkpoints", n_saved=1, score_name="r2", score_function=lambda e: e.state.metrics["r2"], require_empty=False
    )
    evaluator.add_event_handler(Events.COMPLETED, best, {"model": model})

    @trainer.on(Events.EPOCH_COMPLETED)
    def log_validation(engine):
        evaluator.run(val_loader)
        metrics = evaluator.state.metrics
        print(
            f"Epoch[{engine.state.epoch}] Training loss: {engine.state.metrics['loss']:.4f} "
            f"Validation mse: {metrics['mse']:.4f} r2: {metrics['r2']:.4f}"
        )

    trainer.run(train_loader, max_epochs=epochs)
    model.load_state_dict(torch.load(best.last_checkpoint))
    return evaluator.run(val_loader).metrics["r2"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    print(f"measure r2 {run(args.seed, args.epochs):.4f}")
