# %% [markdown]
# # Explain: the cause by replays that differ in one thing
#
# A finding is evidence, and evidence is not proof. `eg.explain` replays the training for some steps, each time with one
# thing changed, and names the smallest change that cures. Every replay is a run of its own that can be looked at.
#
# ## Settings of a function
#
# Two sets of settings differ in three values; with one the model learns, with the other hardly. Which of the three
# is it?

# %%
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import edgeglass_diag as eg

torch.set_num_threads(1)  # the models are tiny: a second thread would only wait
RUNS = Path(tempfile.mkdtemp(prefix="edgeglass-"))


# %%
def build(settings):
    """Return model, optimizer, and a function that takes one step on the next batch."""
    width = settings["width"]
    towers = nn.ModuleList(nn.Sequential(nn.Linear(24, width), nn.Tanh(), nn.Linear(width, 16)) for _ in range(2))
    optimizer = torch.optim.AdamW(towers.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])
    mixing = [torch.randn(8, 24) for _ in range(2)]

    def step():
        hidden = torch.randn(32, 8)
        sides = [
            normalize(tower(torch.tanh(hidden @ each)), dim=-1) for tower, each in zip(towers, mixing, strict=True)
        ]
        logits, labels = sides[0] @ sides[1].T / 0.1, torch.arange(len(hidden))
        loss = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return towers, optimizer, step


healthy = {"width": 48, "lr": 3e-3, "weight_decay": 0.01}
failing = {"width": 64, "lr": 10.0, "weight_decay": 0.1}
settings = eg.explain(build, failing=failing, healthy=healthy, out=RUNS / "settings", seeds=2, steps=40)
settings

# %% [markdown]
# ## A program, unmodified
#
# `examples/plain_faults/matryoshka.py` is a script of somebody else. It is called with `--lr 3`, and its loss does not
# fall. The settings with which it learns are not known: changes are made from outside, while the script runs as it is,
# in processes of its own that may write no file of yours. Here two are named, so that this page stays short; without
# `interventions` it is what the findings of the run nominate.

# %%
HERE = next(folder for folder in (Path("examples"), Path()) if (folder / "plain_faults").is_dir())
program = eg.explain(
    HERE / "plain_faults" / "matryoshka.py",
    arguments=["--lr", "3"],
    interventions=["optimizer.lr=0.001", "optimizer.weight_decay=0"],
    out=RUNS / "program",
    seeds=2,
    steps=40,
)
program

# %% [markdown]
# `edgeglass-diag explain train.py --against-rev HEAD~9` asks the history of a repository instead, and names the commit
# and its line. `python examples/guilty_history.py FOLDER --fault lr` makes a history to try it on.

# %%
assert [cause.setting for cause in settings.causes] == ["lr"], settings.verdict
assert {row.setting for row in settings.not_causes} == {"width", "weight_decay"}, settings.verdict
assert [cause.setting for cause in program.causes] == ["learning rate x 0.001"], program.verdict
assert [row.setting for row in program.not_causes] == ["weight decay 0"], program.verdict
for report in (settings, program):
    print(report.verdict)
