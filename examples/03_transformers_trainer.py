# %% [markdown]
# # A transformers Trainer: the warm-up of somebody else's run
#
# A small CLIP of transformers, trained by its `Trainer`. The settings were copied from a run of 100,000 steps; this one
# has 80. `Diagnose` is a callback: the same record as `eg.watch`, findings through the logging of transformers.

# %%
import math
import tempfile
import warnings
from pathlib import Path

import torch
from torch.utils.data import Dataset

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()  # for a torchvision that was built for another torch; else it does nothing
warnings.filterwarnings("ignore")

from transformers import CLIPConfig, CLIPModel, Trainer, TrainingArguments, set_seed

import edgeglass_diag as eg
from edgeglass_diag.integrations.transformers import Diagnose

torch.set_num_threads(1)  # the models are tiny: a second thread would only wait
RUNS = Path(tempfile.mkdtemp(prefix="edgeglass-"))
BATCH, STEPS = 16, 80

# %% [markdown]
# Pictures of a coloured square on a ground, with the names of the colour, the place and the ground. Nothing is
# downloaded: the model begins with random weights.


# %%
class Squares(Dataset):
    def __init__(self, count=512):
        draw = torch.Generator().manual_seed(0)
        self.kinds = torch.randperm(8 * 16 * 4, generator=draw)[:count]
        self.noise = 0.1 * torch.randn(count, 3, 16, 16, generator=draw)

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, index):
        kind = int(self.kinds[index])
        colour, place, ground = kind % 8, kind // 8 % 16, kind // 128
        shade = torch.tensor([colour & 1, colour >> 1 & 1, colour >> 2 & 1]).float() * 2 - 1
        picture = self.noise[index] + ground / 2 - 0.75
        top, left = 4 * (place // 4), 4 * (place % 4)
        picture[:, top : top + 4, left : left + 4] = shade[:, None, None]
        words = torch.tensor([1, 3 + colour, 11 + place, 27 + ground, 2])
        return {"pixel_values": picture, "input_ids": words, "attention_mask": torch.ones(5, dtype=torch.long)}


def model():
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**size, "vocab_size": 32, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config={**size, "image_size": 16, "patch_size": 4}, projection_dim=16)
    return CLIPModel(config)


# %% [markdown]
# `warmup_steps=10_000`: in the 80 steps of this run the learning rate never gets anywhere.


# %%
def train(name, **settings):
    set_seed(0)
    arguments = TrainingArguments(
        str(RUNS / f"{name}-output"), max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=2e-3,
        logging_steps=20, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
        remove_unused_columns=False, **settings,
    )  # fmt: skip
    trainer = Trainer(
        model(),
        arguments,
        train_dataset=Squares(),
        data_collator=lambda rows: {
            **{key: torch.stack([row[key] for row in rows]) for key in rows[0]},
            "return_loss": True,
        },
        callbacks=[Diagnose(RUNS / name)],
    )
    trainer.train()
    return eg.load(RUNS / name)


slow = train("slow", warmup_steps=10_000)
slow

# %% [markdown]
# The finding says how far the learning rate got. With a warm-up that fits the run, the model learns.

# %%
right = train("right", warmup_steps=5)
right

# %%
codes = {finding.code for finding in slow.findings}
assert "EG212" in codes, codes
assert "EG212" not in {finding.code for finding in right.findings}
losses = [run.frame("loss/total", site="")["value"].tail(3).mean() for run in (slow, right)]
print(f"loss {losses[0]:.3f} with the long warm-up, {losses[1]:.3f} without; ln B is {math.log(BATCH):.3f}")
assert losses[1] < losses[0] - 0.3, losses
