"""Programs that evaluate, and programs whose passes without gradients are parts of their training steps."""

import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn
from torch.utils.checkpoint import checkpoint

STEPS = 26
"""Steps of each program. An evaluation comes after the 17th, whose window no schedule records, and after the last."""


class Classifier(nn.Module):
    """Pictures to classes, with dropout and BatchNorm."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.drop, self.head = (
            nn.Linear(192, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 5),
        )  # fmt: skip

    def features(self, pictures):
        return self.drop(F.relu(self.norm(self.stem(pictures.flatten(1)))))

    def forward(self, pictures):
        return self.head(self.features(pictures))


class Pair(nn.Module):
    """Two sides whose embeddings are compared at two widths."""

    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Sequential(nn.Flatten(), nn.Linear(48, 16)), nn.Linear(10, 16)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, pictures, words):
        return F.normalize(self.image(pictures), dim=-1), F.normalize(self.text(words), dim=-1), self.scale.exp()


def pictures(seed, rows=16):
    """Pictures of one normalisation, smooth as those of nature, and their classes."""
    drawn = torch.Generator().manual_seed(seed)
    smooth = F.interpolate(torch.randn(rows, 3, 2, 2, generator=drawn), size=8, mode="bilinear")
    return 1.5 * smooth, torch.randint(0, 5, (rows,), generator=drawn)


def pairs(seed, rows=16):
    """Pictures made of words, and the words."""
    words = torch.randn(rows, 10, generator=torch.Generator().manual_seed(seed))
    return (words @ torch.randn(10, 48, generator=torch.Generator().manual_seed(0))).view(rows, 3, 4, 4), words


def contrast(image, text, scale):
    """CLIP's loss, both ways, at the widths 4 and 16."""
    losses = []
    for width in (4, 16):
        logits = scale * F.normalize(image[:, :width], dim=-1) @ F.normalize(text[:, :width], dim=-1).T
        own = torch.arange(len(logits))
        losses.append((F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2)
    return sum(losses)


class Program:
    """A training of a classifier; each idiom overrides what it does otherwise."""

    def __init__(self, **options):
        torch.manual_seed(0)
        self.model = Classifier()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.losses, self.evaluated = [], []
        for name, value in options.items():
            setattr(self, name, value)

    def batch(self, step):
        return pictures(step)

    def loss(self, step):
        x, y = self.batch(step)
        return F.cross_entropy(self.model(x), y)

    def step(self, step):
        loss = self.loss(step)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())

    def evaluate(self):
        self.model.eval()
        with torch.no_grad():
            for seed in range(900, 904):
                x, y = pictures(seed)
                self.evaluated.append(F.cross_entropy(self.model(x), y).item())
        self.model.train()

    def run(self):
        for step in range(STEPS):
            self.step(step)
            if step in (16, STEPS - 1):
                self.evaluate()
        return self


class InferenceMode(Program):
    @torch.inference_mode()
    def evaluate(self):
        self.model.eval()
        self.evaluated.append(F.cross_entropy(self.model(pictures(900)[0]), pictures(900)[1]).item())
        self.model.train()


class Forgets(Program):
    """The mode is never changed."""

    @torch.no_grad()
    def evaluate(self):
        for seed in range(900, 904):
            x, y = pictures(seed)
            self.evaluated.append(F.cross_entropy(self.model(x), y).item())


class ForgetsByPhase(Forgets):
    """The loop of two phases, of which only the gradients differ."""

    def evaluate(self):
        for phase in ("train", "val"):
            with torch.set_grad_enabled(phase == "train"):
                if phase == "val":
                    Forgets.evaluate(self)


class Unnormalised(Program):
    """Pictures of 0 to 1 where the training has them normalised."""

    def evaluate(self):
        self.model.eval()
        with torch.no_grad():
            x, y = pictures(900)
            self.evaluated.append(F.cross_entropy(self.model(torch.sigmoid(x)), y).item())
        self.model.train()


class TakesStatisticsAnew(Program):
    def evaluate(self):
        update_bn([pictures(step)[0] for step in range(4)], self.model)
        super().evaluate()


class Teacher(Program):
    """BYOL: a copy that follows, in training mode; its parameters keep their flags, and no optimizer holds them."""

    def step(self, step):
        self.teacher = getattr(self, "teacher", None) or copy.deepcopy(self.model)
        x, _ = self.batch(step)
        with torch.no_grad():
            target = self.teacher(x + 0.1)
        loss = F.mse_loss(self.model(x), target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for own, other in zip(self.teacher.parameters(), self.model.parameters(), strict=True):
                own.lerp_(other, 0.1)

    def evaluate(self):
        pass


class OwnTargets(Program):
    """The trained model itself gives the target of the step, as pseudo labels or a value of the next state."""

    def loss(self, step):
        x, _ = self.batch(step)
        with torch.no_grad():
            labels = self.model(x + 0.1).argmax(-1)
        return F.cross_entropy(self.model(x), labels)

    def evaluate(self):
        pass


class Mined(OwnTargets):
    """Samples are chosen by the trained model."""

    def loss(self, step):
        x, y = self.batch(step)
        with torch.no_grad():
            hard = F.cross_entropy(self.model(x), y, reduction="none").topk(8).indices
        return F.cross_entropy(self.model(x[hard] + 0.01), y[hard])


class Cached(OwnTargets):
    """GradCache: embeddings first, then their gradients, then each part once more with gradients."""

    def step(self, step):
        x, y = self.batch(step)
        with torch.no_grad():
            parts = [self.model(part) for part in x.split(8)]
        leaves = [part.detach().requires_grad_() for part in parts]
        loss = F.cross_entropy(torch.cat(leaves), y)
        loss.backward()
        self.optimizer.zero_grad()
        for part, leaf in zip(x.split(8), leaves, strict=True):
            (self.model(part) * leaf.grad).sum().backward()
        self.optimizer.step()


class Checkpointed(OwnTargets):
    def loss(self, step):
        x, y = self.batch(step)
        return F.cross_entropy(checkpoint(self.model, x.requires_grad_(), use_reentrant=True), y)


class Sharpness(OwnTargets):
    """SAM: the second pass has other weights, and both have gradients."""

    def step(self, step):
        x, y = self.batch(step)
        F.cross_entropy(self.model(x), y).backward()
        moved = []
        with torch.no_grad():
            for parameter in self.model.parameters():
                moved.append(0.05 * parameter.grad / (parameter.grad.norm() + 1e-6))
                parameter.add_(moved[-1])
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        with torch.no_grad():
            for parameter, by in zip(self.model.parameters(), moved, strict=True):
                parameter.sub_(by)
        self.optimizer.step()
        self.optimizer.zero_grad()


class Policy(OwnTargets):
    """Actions are drawn by the policy in evaluation mode, as environments of a batch ask for them."""

    def loss(self, step):
        x, _ = self.batch(step)
        self.model.eval()
        with torch.no_grad():
            actions = torch.distributions.Categorical(logits=self.model(x)).sample()
        self.model.train()
        return -(torch.distributions.Categorical(logits=self.model(x)).log_prob(actions)).mean()


HEALTHY = [
    Program, InferenceMode, TakesStatisticsAnew, Teacher, OwnTargets, Mined, Cached, Checkpointed, Sharpness, Policy,
]  # fmt: skip
FORGETFUL = [Forgets, ForgetsByPhase]
