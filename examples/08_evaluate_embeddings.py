# %% [markdown]
# # Evaluate embeddings: two numbers that look wrong and one that is
#
# Retrieval recall needs two arrays: images and texts, one row each. `eg.evaluate` reads them from npy, npz, safetensors
# or parquet, or from a run or checkpoint, and puts beside each recall what chance would give.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import edgeglass_diag as eg

torch.set_num_threads(1)  # the models are tiny: a second thread would only wait
FOLDER = Path(tempfile.mkdtemp(prefix="edgeglass-"))
WIDTH, PREFIX = 64, 8

# %% [markdown]
# Two small heads bring two views of the same hidden numbers into one space. The second pair of heads is trained in the
# Matryoshka way, with a loss for the first 8 dimensions as well; the first is not, and both are cut to 8 dimensions
# when they are used, to save storage.


# %%
def views(count, draw):
    mixing = [torch.randn(24, 48, generator=torch.Generator().manual_seed(side)) for side in (1, 2)]
    hidden = torch.randn(count, 24, generator=draw)
    return [torch.tanh(hidden @ each / 24**0.5) + 0.1 * torch.randn(count, 48, generator=draw) for each in mixing]


def contrast(image, text):
    logits, labels = normalize(image, dim=-1) @ normalize(text, dim=-1).T / 0.1, torch.arange(len(image))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def embeddings(widths, steps=400):
    torch.manual_seed(0)
    heads = [nn.Sequential(nn.Linear(48, 128), nn.GELU(), nn.Linear(128, WIDTH)) for _ in range(2)]
    optimizer = torch.optim.AdamW([*heads[0].parameters(), *heads[1].parameters()], lr=3e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        image, text = (head(view) for head, view in zip(heads, views(64, draw), strict=True))
        loss = sum(contrast(image[:, :width], text[:, :width]) for width in widths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        unseen = views(500, torch.Generator().manual_seed(99))
        return [head(view).numpy() for head, view in zip(heads, unseen, strict=True)]


def evaluated(name, image, text):
    np.savez(FOLDER / f"{name}.npz", image=image, text=text)
    return eg.evaluate(FOLDER / f"{name}.npz", dims=[WIDTH, PREFIX], with_curve=False)


plain = evaluated("plain", *embeddings([WIDTH]))
plain

# %%
nested_embeddings = embeddings([WIDTH, PREFIX])
nested = evaluated("nested", *nested_embeddings)
nested

# %% [markdown]
# At full width both are good. Cut to 8 dimensions, the heads that were not trained for it lose much of their recall.
#
# The number that looks wrong and is only badly laid out: five captions for each picture, and the picture's row written
# five times, so that both arrays have the same length. Each of the five equal rows is "right" for one caption alone,
# and no model can find more than one in five. The evaluation says so, with the bound.

# %%
image, text = nested_embeddings
captions = np.repeat(text, 5, axis=0) + 0.02 * np.random.default_rng(0).normal(size=(5 * len(text), WIDTH))
repeated = evaluated("repeated", np.repeat(image, 5, axis=0), captions.astype(np.float32))
repeated

# %%
print(
    f"R@1 at {PREFIX} dims: {plain.mrl[PREFIX]['i2t']['R@1']:.3f} plain, {nested.mrl[PREFIX]['i2t']['R@1']:.3f} nested"
)
assert min(report.i2t["R@1"] for report in (plain, nested)) > 0.6
assert nested.mrl[PREFIX]["i2t"]["R@1"] > 1.3 * plain.mrl[PREFIX]["i2t"]["R@1"]
bound = repeated.values["duplicates"]["image"]
assert bound["copies"] == 5
assert abs(bound["bound"] - 0.2) < 1e-6
assert repeated.t2i["R@1"] <= 0.2
print(f"text to image R@1 with repeated rows: {repeated.t2i['R@1']:.3f}, bound {bound['bound']:.3f}")
