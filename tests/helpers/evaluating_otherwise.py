"""Programs whose evaluations have gradients, come before the first step, or have a loss that is a module."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.evaluating import OwnTargets, Program, pictures


class Criterion(Program):
    """The loss is a module."""

    def evaluate(self):
        self.model.eval()
        criterion = nn.CrossEntropyLoss()
        with torch.no_grad():
            for seed in range(900, 904):
                x, y = pictures(seed)
                self.evaluated.append(criterion(self.model(x), y).item())
        self.model.train()


class Graphs(Program):
    """Evaluation mode, and gradients on; the losses are kept with their graphs."""

    batches = 12

    def evaluate(self):
        self.model.eval()
        losses = []
        for seed in range(900, 900 + self.batches):
            x, y = pictures(seed)
            losses.append(nn.CrossEntropyLoss()(self.model(x), y))
        self.evaluated += [loss.item() for loss in losses]
        self.model.train()


class Baseline(Program):
    """An evaluation before the first step."""

    def run(self):
        self.evaluate()
        return super().run()


class BaselineFirst(Program):
    """The same, before there is an optimizer."""

    def run(self):
        self.optimizer = None
        self.evaluate()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        return super().run()


class InEvaluationMode(OwnTargets):
    """BatchNorm keeps its statistics from some step on: all later steps are taken in evaluation mode."""

    since = 0

    def loss(self, step):
        self.model.train(step < self.since)
        x, y = self.batch(step)
        return F.cross_entropy(self.model(x), y)


class Adversarial(OwnTargets):
    """Examples are found in evaluation mode, by a backward pass of their own."""

    def loss(self, step):
        x, y = self.batch(step)
        x = x.requires_grad_()
        self.model.eval()
        self.attack(x, F.cross_entropy(self.model(x), y))
        self.model.train()
        self.optimizer.zero_grad()
        return F.cross_entropy(self.model((x + 0.01 * x.grad.sign()).detach()), y)

    def attack(self, x, loss):
        loss.backward()


class AdversarialAside(Adversarial):
    def attack(self, x, loss):
        (x.grad,) = torch.autograd.grad(loss, x)


class Energy(Program):
    """An evaluation that differentiates by its inputs, as one of forces does."""

    def evaluate(self):
        self.model.eval()
        x, _ = pictures(900)
        (forces,) = torch.autograd.grad(self.model(x.requires_grad_()).sum(), x)
        self.evaluated.append(forces.norm().item())
        self.model.train()
