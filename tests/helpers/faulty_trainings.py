"""Small trainings with one fault each, of rules for which the bench has no fault: code -> training."""

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

BATCH, WIDTH = 16, 32


class Dual(nn.Module):
    """Two perceptrons; both sides are views of one vector."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.image = nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Dropout(dropout), nn.Linear(64, WIDTH))
        self.text = nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH))

    def forward(self, images, texts):
        return self.image(images), self.text(texts)


class Scrambled(Dual):
    """Heads are split off by a reshape that mixes positions and features."""

    def forward(self, images, texts):
        tokens = images.unflatten(1, (4, 8))
        heads = tokens.reshape(len(tokens), 2, 4, 4)
        mixed = F.scaled_dot_product_attention(heads, heads, heads)
        return self.image(mixed.transpose(1, 2).reshape(len(tokens), WIDTH)), self.text(texts)


def pairs(step):
    generator = torch.Generator().manual_seed(step)
    shared = torch.randn(BATCH, WIDTH, generator=generator)
    return shared, shared.flip(1) + 0.1 * torch.randn(BATCH, WIDTH, generator=generator)


def strangers(step):
    images, texts = pairs(step)
    return images, texts[torch.randperm(BATCH, generator=torch.Generator().manual_seed(step))]


def contrast(image, text, scale=10.0, axis=-1):
    logits = scale * (F.normalize(image, dim=axis) @ F.normalize(text, dim=axis).T)
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def train(steps=12, *, model=None, loss=contrast, data=pairs, lr=1e-3, step_of=None, after=lambda model: None):
    torch.manual_seed(0)
    model = Dual() if model is None else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    for step in range(steps):
        value = loss(*model(*data(step)))
        if step_of is None:
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        else:
            step_of(value, optimizer, model)
        after(model)


def reshape_scrambles():
    train(model=Scrambled())


def loss_diverges():
    """Plain products at a rate that grows the weights without end."""

    def loss(image, text):
        logits = image @ text.T
        return F.cross_entropy(logits, torch.arange(len(logits)))

    train(60, loss=loss, lr=0.3)


def cleared_before_the_step():
    def step_of(value, optimizer, model):
        value.backward()
        optimizer.zero_grad()
        optimizer.step()

    train(30, step_of=step_of)


def teacher_overwrites_student():
    torch.manual_seed(0)
    model = Dual()
    teacher = copy.deepcopy(model)

    def after(model):
        for own, other in zip(model.parameters(), teacher.parameters(), strict=True):
            own.data.copy_(other)

    train(40, model=model, after=after)


def dropout_of_nine_tenths():
    train(100, model=Dual(dropout=0.9), loss=lambda image, text: contrast(image, text, scale=1.0), lr=3e-3)


def normalised_over_the_batch():
    train(loss=lambda image, text: contrast(image, text, axis=0))


def distance_for_similarity():
    """The most distant text is taken for the pair of an image."""
    train(300, loss=lambda image, text: contrast(image, text, scale=-10.0), lr=3e-3)


def labels_of_zero_and_one():
    def loss(image, text):
        logits = 10 * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
        return -F.logsigmoid(torch.eye(len(logits)) * logits).sum() / len(logits)

    train(loss=loss)


def pairs_shuffled():
    train(400, data=strangers, loss=lambda image, text: contrast(image, text, scale=3.0), lr=5e-3)


def context_far_too_long():
    torch.manual_seed(0)
    table = nn.Embedding(50, 32, padding_idx=0)
    head = nn.Linear(32, 32)

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head, self.image = table, head, nn.Linear(WIDTH, 32)

        def forward(self, images, tokens):
            return self.image(images), self.head(self.table(tokens).mean(1))

    def data(step):
        images, _ = pairs(step)
        tokens = torch.zeros(BATCH, 100, dtype=torch.long)
        tokens[:, :3] = torch.randint(1, 50, (BATCH, 3), generator=torch.Generator().manual_seed(step))
        return images, tokens

    train(model=Tokens(), data=data)


def clipped_while_scaled():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def step_of(value, optimizer, model):
        optimizer.zero_grad()
        scaler.scale(value).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    train(step_of=step_of)


def init_overwritten():
    torch.manual_seed(0)
    model = Dual()
    nn.init.normal_(model.image[0].weight, std=math.sqrt(2 / WIDTH))
    nn.init.normal_(model.image[0].weight, std=1e-3)
    train(model=model)


TRAININGS = {
    "EG001": init_overwritten,
    "EG107": reshape_scrambles,
    "EG204": loss_diverges,
    "EG214": cleared_before_the_step,
    "EG215": teacher_overwrites_student,
    "EG216": dropout_of_nine_tenths,
    "EG308": normalised_over_the_batch,
    "EG410": distance_for_similarity,
    "EG413": labels_of_zero_and_one,
    "EG503": pairs_shuffled,
    "EG506": context_far_too_long,
    "EG805": clipped_while_scaled,
}
