# %% [markdown]
# # Your own loop: the loss is stuck at ln B
#
# A small image-text training, written by hand. It runs, it prints a loss, and the loss does not move. One line,
# `eg.watch`, records the training and judges it; nothing else in the loop changes. In a notebook the cell shows state,
# step, loss, steps per second and findings while it trains.

# %%
import math
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import edgeglass_diag as eg

torch.set_num_threads(1)  # the models are tiny: a second thread would only wait
RUNS = Path(tempfile.mkdtemp(prefix="edgeglass-"))
BATCH, STEPS = 32, 120

# %% [markdown]
# The data are two views of the same hidden numbers, as an image and its caption are. The model has a tower for each.


# %%
def batches(seed=0):
    draw = torch.Generator().manual_seed(seed)
    mixing = [torch.randn(8, 24, generator=draw) for _ in range(2)]
    while True:
        hidden = torch.randn(BATCH, 8, generator=draw)
        yield [torch.tanh(hidden @ matrix) for matrix in mixing]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = (nn.Sequential(nn.Linear(24, 64), nn.Tanh(), nn.Linear(64, 16)) for _ in range(2))

    def forward(self, images, texts):
        return normalize(self.image(images), dim=-1), normalize(self.text(texts), dim=-1)


# %% [markdown]
# Cosines lie between -1 and 1. CLIP divides them by a temperature of 0.07, so that the softmax can tell pairs apart.
# Here somebody has written `*` for `/`.


# %%
def train(name, logits_of):
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with eg.watch(model, optimizer, out=RUNS / name):
        for _, (images, texts) in zip(range(STEPS), batches(), strict=False):
            image, text = model(images, texts)
            logits, labels = logits_of(image @ text.T), torch.arange(BATCH)
            loss = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{name}: loss {loss.item():.3f}, ln B is {math.log(BATCH):.3f}")
    return eg.load(RUNS / name)


stuck = train("stuck", lambda cosines: cosines * 0.07)

# %% [markdown]
# The record is a folder that can be read while the training still runs. Shown in a notebook, a run tells its verdict,
# its loss and its findings, each under the one that it follows from.

# %%
stuck

# %% [markdown]
# `eg.diagnose` is one answer: what is wrong, what of it is proved, and what to try next.

# %%
print(eg.diagnose(stuck))

# %% [markdown]
# The temperature is named. With the division in its place the same loop learns, and no finding is left that asks for
# anything.

# %%
learning = train("learning", lambda cosines: cosines / 0.07)
learning

# %%
codes = {finding.code for finding in stuck.findings}
assert "EG403" in codes, codes
assert [finding for finding in learning.findings if finding.severity is eg.Severity.CRITICAL] == []
loss = learning.frame("loss/total", site="")["value"]
assert loss.iloc[-1] < 0.5 * math.log(BATCH), loss.iloc[-1]
