"""Student and teacher, prototypes and queues: collapses and rests that the value of their loss does not tell."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.measures.assignments import predicted_information
from edgeglass_diag.rules.contrast_result import ContrastLearnedNothing
from edgeglass_diag.rules.predictions import TargetsNotPredicted
from tests.helpers.windows import judge, learning

RULES = (TargetsNotPredicted, ContrastLearnedNothing)
BATCH, WIDTH, PROTOTYPES, STEPS = 64, 16, 16, 150


def samples():
    """Return samples of eight kinds, which differ more between kinds than within."""
    torch.manual_seed(1)
    kinds = 3 * torch.randn(8, WIDTH)
    torch.manual_seed(0)
    while True:
        yield kinds[torch.randint(8, (BATCH,))] + 0.5 * torch.randn(BATCH, WIDTH)


def two_views(values):
    return [values + 0.3 * torch.randn_like(values) for _ in range(2)]


def strangers(values):
    """Two views that share nothing."""
    return [torch.randn_like(values) for _ in range(2)]


def encoder(norm=True, out=PROTOTYPES):
    middle = nn.BatchNorm1d(32) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(WIDTH, 32), middle, nn.ReLU(), nn.Linear(32, out))


def follow(teacher, student, momentum=0.96):
    with torch.no_grad():
        for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
            old.lerp_(new, 1 - momentum)


class Trainer:
    """A loss of two views, with what it keeps between steps."""

    def __init__(self, norm=True):
        self.model = encoder(norm)
        self.others = []

    def parameters(self):
        return [p for m in (self.model, *self.others) for p in m.parameters() if p.requires_grad]

    def after(self):
        """Do what follows a step."""


class Dino(Trainer):
    """Self-distillation with centring and sharpening."""

    def __init__(self, teacher_temperature=0.05, stacked=True, sign=1):
        super().__init__()
        self.teacher = copy.deepcopy(self.model).requires_grad_(False)
        self.center, self.temperature = torch.zeros(PROTOTYPES), teacher_temperature
        self.stacked, self.sign = stacked, sign

    def loss(self, left, right):
        with torch.no_grad():
            known = [F.normalize(self.teacher(view), dim=-1) for view in (left, right)]
        own = [F.log_softmax(F.normalize(self.model(view), dim=-1) / 0.1, dim=-1) for view in (left, right)]
        targets = [((values - self.center) / self.temperature).softmax(-1) for values in known]
        self.center = 0.9 * self.center + 0.1 * torch.cat(known).mean(0)
        if self.stacked:
            table = -torch.einsum("tbd,sbd->ts", torch.stack(targets), torch.stack(own))
            return self.sign * table.fill_diagonal_(0).sum() / (2 * BATCH)
        return -self.sign * ((targets[0] * own[1]).sum(-1).mean() + (targets[1] * own[0]).sum(-1).mean()) / 2

    def after(self):
        follow(self.teacher, self.model)


class SimSiam(Trainer):
    """Cosines of a prediction with what has no gradient."""

    def __init__(self, norm=True):
        super().__init__(norm)
        self.predictor = nn.Sequential(nn.Linear(PROTOTYPES, 32), nn.ReLU(), nn.Linear(32, PROTOTYPES))
        self.others = [self.predictor]

    def loss(self, left, right):
        z, y = self.model(left), self.model(right)
        p, q = self.predictor(z), self.predictor(y)
        return -(F.cosine_similarity(p, y.detach()).mean() + F.cosine_similarity(q, z.detach()).mean()) / 2


class Byol(SimSiam):
    """The same with a moving average as the target."""

    def __init__(self, norm=True):
        super().__init__(norm)
        self.teacher = copy.deepcopy(self.model).requires_grad_(False)

    def loss(self, left, right):
        p = F.normalize(self.predictor(self.model(left)), dim=-1)
        with torch.no_grad():
            y = F.normalize(self.teacher(right), dim=-1)
        return (2 - 2 * (p * y).sum(-1)).mean()

    def after(self):
        follow(self.teacher, self.model)


class VicReg(Trainer):
    """Invariance, variance and covariance."""

    def loss(self, left, right):
        z, y = self.model(left), self.model(right)
        spread = sum(F.relu(1 - (v.var(0) + 1e-4).sqrt()).mean() for v in (z, y))
        centred = [v - v.mean(0) for v in (z, y)]
        tables = [v.T @ v / (BATCH - 1) for v in centred]
        off = sum((t - t.diagonal().diag()).square().sum() / PROTOTYPES for t in tables)
        return 25 * F.mse_loss(z, y) + 25 * spread + off


class Moco(Trainer):
    """Contrast with a queue of keys."""

    def __init__(self):
        super().__init__()
        self.teacher = copy.deepcopy(self.model).requires_grad_(False)
        self.queue = F.normalize(torch.randn(256, PROTOTYPES), dim=-1)
        self.keys = None

    def loss(self, left, right):
        q = F.normalize(self.model(left), dim=-1)
        with torch.no_grad():
            self.keys = F.normalize(self.teacher(right), dim=-1)
        partner = torch.einsum("nc,nc->n", q, self.keys).unsqueeze(-1)
        logits = torch.cat([partner, torch.einsum("nc,ck->nk", q, self.queue.T.clone())], dim=1) / 0.2
        return F.cross_entropy(logits, torch.zeros(BATCH, dtype=torch.long))

    def after(self):
        follow(self.teacher, self.model)
        self.queue = torch.cat([self.keys, self.queue])[:256]


def found_by(folder, trainer, *, rate=3e-3, steps=STEPS, view=two_views):
    torch.manual_seed(0)
    known = trainer()
    optimizer = torch.optim.Adam(known.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with eg.watch(known.model, optimizer, out=folder):
        for _, values in zip(range(steps), samples(), strict=False):
            known.loss(*view(values)).backward()
            optimizer.step()
            optimizer.zero_grad()
            known.after()
            schedule.step()
    with eg.load(folder) as run:
        return {finding.code: finding for finding in run.findings if finding.severity != "info"}


HEALTHY = {
    "dino": Dino,
    "dino, view by view": lambda: Dino(stacked=False),
    "simsiam": SimSiam,
    "simsiam without batchnorm": lambda: SimSiam(norm=False),
    "byol": Byol,
    "byol without batchnorm": lambda: Byol(norm=False),
    "vicreg": VicReg,
    "moco": Moco,
}


@pytest.mark.parametrize("trainer", HEALTHY.values(), ids=HEALTHY)
def test_healthy_self_supervision_is_silent(tmp_path, trainer):
    assert found_by(tmp_path / "run", trainer) == {}


@pytest.mark.parametrize("stacked", [True, False])
def test_a_student_driven_away_from_its_teacher_is_named_however_the_loss_is_written(tmp_path, stacked):
    found = found_by(tmp_path / "run", lambda: Dino(stacked=stacked, sign=-1))
    assert found["EG316"].evidence["predicted"] <= 0 < found["EG316"].evidence["targets"]


@pytest.mark.parametrize(("begins", "severity"), [(2000, "info"), (10**6, "warning")])
def test_a_student_that_learns_late_was_no_fault(begins, severity):
    found, _ = judge(
        learning(
            range(0, 3000, 10),
            **{
                "image[:64] x text[:64]|embedding/predicted": lambda t: 0.4 if t >= begins else 0.0,
                "text[:64]|embedding/assignment": lambda t: 0.5,
            },
        )
    )
    assert found["EG316"].severity == severity
    assert (found["EG316"].learned_since == begins) == (severity == "info")


def test_targets_that_are_the_same_for_all_are_silent(tmp_path):
    """As those of a penalty on confidence beside a loss that learns."""
    assert "EG316" not in found_by(tmp_path / "run", lambda: Dino(teacher_temperature=1e4))


def test_a_queue_whose_contrast_learned_nothing_is_named(tmp_path):
    assert "EG318" in found_by(tmp_path / "run", Moco, view=strangers)


def test_the_level_of_a_constant_guess():
    targets = torch.softmax(3 * torch.randn(64, 5, generator=torch.Generator().manual_seed(0)), -1).double()
    guess = targets.mean(0).expand_as(targets)
    mean, entropy = (torch.special.entr(one).sum(-1).mean().item() for one in (targets.mean(0), targets))
    level = min(mean + 4 / 128, math.log(5))
    assert predicted_information(guess, targets).item() == pytest.approx(level - mean)
    assert predicted_information(targets, targets).item() == pytest.approx(level - entropy)
