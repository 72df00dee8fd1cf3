# %% [markdown]
# # Lightning: a softmax too many
#
# The loss gets probabilities where it expects logits. It is a training like any other: it runs, the loss falls a bit,
# and stays where it is. `Diagnose` is a callback of Lightning; with `stop_on` it ends the training as soon as the
# fault is certain, so that no night is lost.

# %%
import logging
import math
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()  # for a torchvision that was built for another torch; else it does nothing
warnings.filterwarnings("ignore")

import lightning

import edgeglass_diag as eg
from edgeglass_diag.integrations.lightning import Diagnose

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
torch.set_num_threads(1)  # the models are tiny: a second thread would only wait
RUNS = Path(tempfile.mkdtemp(prefix="edgeglass-"))
BATCH, EPOCHS = 32, 6

# %% [markdown]
# Two views of the same hidden numbers stand for images and texts.


# %%
def pairs(count=1024):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, 8, generator=draw)
    return TensorDataset(*(torch.tanh(hidden @ torch.randn(8, 24, generator=draw)) for _ in range(2)))


class Aligner(lightning.LightningModule):
    def __init__(self, *, double_softmax):
        super().__init__()
        self.image, self.text = (nn.Sequential(nn.Linear(24, 64), nn.GELU(), nn.Linear(64, 16)) for _ in range(2))
        self.double_softmax = double_softmax

    def training_step(self, batch, index):
        images, texts = batch
        logits = normalize(self.image(images), dim=-1) @ normalize(self.text(texts), dim=-1).T / 0.1
        sides = (logits, logits.T)
        if self.double_softmax:
            sides = tuple(side.softmax(dim=-1) for side in sides)
        labels = torch.arange(len(logits))
        return sum(cross_entropy(side, labels) for side in sides) / 2

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 3e-3)


# %%
def train(name, **settings):
    lightning.seed_everything(0, verbose=False)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[Diagnose(RUNS / name, stop_on=["EG405"])],
    )  # fmt: skip
    trainer.fit(Aligner(**settings), DataLoader(pairs(), BATCH, shuffle=True))
    return eg.load(RUNS / name)


doubled = train("doubled", double_softmax=True)
doubled

# %% [markdown]
# The run was stopped on the finding, long before its end. Without the second softmax it goes through and learns.

# %%
plain = train("plain", double_softmax=False)
plain

# %%
steps = EPOCHS * 1024 // BATCH
assert "EG405" in {finding.code for finding in doubled.findings}
assert doubled.record.taken < steps, doubled.record
assert plain.record.taken == steps, plain.record
assert [finding for finding in plain.findings if finding.severity is eg.Severity.CRITICAL] == []
print(f"stopped after {doubled.record.taken} of {steps} steps")
assert plain.frame("loss/total", site="")["value"].iloc[-1] < 0.5 * math.log(BATCH)
