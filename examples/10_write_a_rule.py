# %% [markdown]
# # Write a rule: units that never fire
#
# A rule is a small class: a code, words, thresholds, and `check`, which reads what was recorded and returns findings.
# This one asks whether most outputs of a module are exactly zero, for whole windows on end: units behind a ReLU that
# are off for every sample get no gradient, and stay off.

# %%
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import edgeglass_diag as eg
from edgeglass_diag.signals.activations import ACTIVATION_ZEROS

torch.set_num_threads(1)  # the models are tiny: a second thread would only wait
RUNS = Path(tempfile.mkdtemp(prefix="edgeglass-"))

# %% [markdown]
# A threshold is a field, so that `pyproject.toml` can set it. The code is yours: choose letters that are not `EG`.
# A series knows since when a condition holds (`streak`), and asks each window once.


# %%
@dataclass(frozen=True)
class MostlyOff(eg.Rule):
    """Most outputs of a module are exactly zero, always.

    Why: a unit that is off for the whole batch gets no gradient and never comes back.

    Formula: the share of zeros is at least ``share`` in each of the last ``windows`` recorded windows.
    """

    share: float = 0.9
    windows: int = 3

    code = "MY001"
    name = "mostly-off"
    title = "Most outputs are exactly zero"
    severity = eg.Severity.WARNING
    signals = (ACTIVATION_ZEROS,)
    source = "derived: the derivative of ReLU is 0 where it is off"
    fix = "Look for a large negative bias; lower the learning rate, or use a GELU."

    def check(self, history):
        for site, series in history.of(ACTIVATION_ZEROS):
            state = series.streak(lambda _, share: share >= self.share)
            if state is not None and state.windows >= self.windows:
                detail = f"{series.last:.0%} of the outputs of {site} are 0 since step {state.since}"
                yield self.finding(history, detail, site=site, since=state.since, evidence={"zeros": series.last})


# %% [markdown]
# A rule has a faulty case, in which it speaks, and a healthy one, in which it is silent. The object goes into
# `eg.watch`, alone or together with the codes of ours.


# %%
def findings_with(name, bias, rules):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    nn.init.constant_(model[0].bias, bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with eg.watch(model, optimizer, out=RUNS / name, rules=rules):
        for _ in range(20):
            loss = (model(torch.randn(16, 8)) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return eg.load(RUNS / name).findings


faulty = findings_with("faulty", -10.0, [MostlyOff()])
faulty

# %%
healthy = findings_with("healthy", 0.0, [MostlyOff()])
healthy

# %% [markdown]
# In a package of yours, name the class in the entry points; it then runs, is configured and explained like ours:
#
# ```toml
# [project.entry-points."edgeglass_diag.rules"]
# mine = "mypackage.rules:MostlyOff"
# ```

# %%
assert [(finding.code, finding.site) for finding in faulty] == [("MY001", "1")], faulty
assert faulty[0].since == 0
assert healthy == []
strict = findings_with("strict", 0.0, [MostlyOff(share=0.3), "EG8"])
assert {finding.code for finding in strict} == {"MY001"}, strict
print(faulty[0].message)
