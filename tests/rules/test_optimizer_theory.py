"""What the theory of optimizers excludes: betas in the wrong order, momentum without end, steps beyond Adam's bound."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

import edgeglass_diag as eg
from edgeglass_diag.rules.gradient_direction import GradientDrowned
from edgeglass_diag.rules.optimizer_theory import BetasSwapped, BeyondAdamsBound, MomentumOutlivesRun
from edgeglass_diag.rules.stalled_updates import ClippedToNothing, MovesTooLittle
from edgeglass_diag.rules.weight_decay import WeightsDecay

RULES = (GradientDrowned, BetasSwapped, MomentumOutlivesRun, BeyondAdamsBound)


def findings(folder, make, *, steps=60, between=lambda model: None, factor=1.0, loss_of=F.cross_entropy, scale=1.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 8))
    optimizer = make(model.parameters())
    rules = [rule() for rule in (*RULES, ClippedToNothing, MovesTooLittle, WeightsDecay)]
    with eg.watch(model, optimizer, out=folder, rules=rules):
        for _ in range(steps):
            x = torch.randn(64, 16)
            optimizer.zero_grad()
            (factor * loss_of(model(scale * x), x[:, :8].argmax(1))).backward()
            between(model)
            optimizer.step()
    with eg.load(folder) as run:
        return {f.code: f for f in run.findings if f.severity != "info"}


def adam(lr=3e-3, **settings):
    return lambda parameters: torch.optim.Adam(parameters, lr=lr, **settings)


def noise(size):
    def add(model):
        for parameter in model.parameters():
            parameter.grad += size * torch.randn_like(parameter.grad)

    return add


def shuffle(model):
    for parameter in model.parameters():
        parameter.grad = parameter.grad.flatten()[torch.randperm(parameter.numel())].view_as(parameter)


@pytest.mark.parametrize("between", [noise(1.0), shuffle], ids=["noise", "shuffled"])
def test_a_gradient_that_is_another_one_is_named(tmp_path, between):
    found = findings(tmp_path / "run", adam(), between=between)
    assert set(found) == {"EG224"}
    assert abs(found["EG224"].evidence["cosine"]) < 0.1


def clip(model):
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    nn.utils.clip_grad_value_(model.parameters(), 0.01)


def masked(model):
    for parameter in model.parameters():
        parameter.grad[parameter.shape[0] // 2 :] = 0


@pytest.mark.parametrize(
    "between",
    [noise(1e-3), noise(1e-2), clip, masked, lambda model: None],
    ids=["some", "much", "clip", "mask", "none"],
)
def test_what_leaves_the_gradient_its_say_is_silent(tmp_path, between):
    assert findings(tmp_path / "run", adam(), between=between) == {}


def test_noise_in_which_the_model_learns_is_silent(tmp_path):
    found = findings(tmp_path / "run", adam(1e-2), between=noise(0.03), steps=400)
    assert found == {}


def test_swapped_betas_are_named(tmp_path):
    found = findings(tmp_path / "run", adam(betas=(0.999, 0.9)), steps=12)
    assert set(found) == {"EG225"}
    assert found["EG225"].message.startswith("Adam's betas are swapped: group0 has betas=(0.999, 0.9)")


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.9), (0.95, 0.95), (0.5, 0.9), (0.0, 0.99)])
def test_usual_betas_are_silent(tmp_path, betas):
    assert findings(tmp_path / "run", adam(betas=betas), steps=12) == {}


def momentum(value, lr):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, momentum=value)


def test_momentum_without_end_is_named_where_nothing_is_learned(tmp_path):
    assert "EG226" in findings(tmp_path / "run", momentum(0.999, 1.0))


@pytest.mark.parametrize(("value", "lr"), [(0.9, 1e-6), (0.999, 1e-2)], ids=["usual", "learns"])
def test_momentum_is_silent_where_it_is_not_the_cause(tmp_path, value, lr):
    assert "EG226" not in findings(tmp_path / "run", momentum(value, lr))


@pytest.fixture
def half_state():
    """Adam's moments pass through float16 after each step."""

    def rounded(optimizer, *_):
        for state in optimizer.state.values():
            state["exp_avg_sq"].copy_(state["exp_avg_sq"].half())

    handle = register_optimizer_step_post_hook(rounded)
    yield
    handle.remove()


@pytest.mark.usefixtures("half_state")
def test_a_lost_second_moment_is_named(tmp_path):
    assert "EG227" in findings(tmp_path / "run", adam(), factor=1e-2, steps=14)


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam])
@pytest.mark.parametrize("factor", [1e-2, 1e3])
def test_no_gradient_takes_adam_beyond_its_bound(tmp_path, make, factor):
    found = findings(tmp_path / "run", lambda p: make(p, lr=3e-3, weight_decay=0.1), factor=factor, steps=14)
    assert "EG227" not in found


def test_decay_that_empties_the_weights_while_a_little_is_learned_is_named(tmp_path):
    found = findings(tmp_path / "run", lambda p: torch.optim.AdamW(p, lr=3e-3, weight_decay=30.0), steps=60)
    assert "EG210" in found


def test_decay_on_a_linear_probe_makes_its_logits_smaller_alone(tmp_path):
    def probe(layers):
        torch.manual_seed(0)
        model = nn.Linear(64, layers[-1]) if len(layers) == 1 else nn.Sequential(*(nn.Linear(64, n) for n in layers))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.05)
        means = torch.randn(100, 64)
        with eg.watch(model, optimizer, out=tmp_path / str(len(layers)), rules=[WeightsDecay()]):
            for _ in range(60):
                labels = torch.randint(0, 100, (64,))
                features = F.normalize(means[labels] + 0.5 * torch.randn(64, 64), dim=-1)
                optimizer.zero_grad()
                F.cross_entropy(model(features), labels).backward()
                optimizer.step()
        with eg.load(tmp_path / str(len(layers))) as run:
            return [finding.code for finding in run.findings]

    assert probe([100]) == []
    assert probe([64, 100]) == ["EG210"]


def squared(answers, labels):
    return F.mse_loss(answers, F.one_hot(labels, 8).float())


def test_weights_that_do_not_move_are_named_where_the_loss_has_no_chance_level(tmp_path):
    found = findings(tmp_path / "run", adam(1e-9), steps=120, loss_of=squared)
    assert "EG206" in found
    assert not found["EG206"].fix.startswith("Set eps")


def test_a_loss_so_small_that_eps_governs_the_steps_is_told_so(tmp_path):
    found = findings(tmp_path / "run", adam(1e-4), steps=120, loss_of=squared, factor=1e-9)
    assert found["EG206"].fix.startswith("Set eps to 1e-8 or multiply the loss")
