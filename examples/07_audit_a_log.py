# %% [markdown]
# # Audit a colleague's log: numbers that cannot be true together
#
# There is no code and no checkpoint, only a CSV that a colleague has sent, with the words "the model is slowly getting
# better, but recall is low". `eg.audit` reads the numbers alone: which of them cannot be true together, and what they
# imply.
#
# The log is made here as it came about: a validation of an image encoder that gives the same embedding for every
# picture.

# %%
import csv
import math
import tempfile
from pathlib import Path

import numpy as np

import edgeglass_diag as eg

FOLDER = Path(tempfile.mkdtemp(prefix="edgeglass-"))
PAIRS, BATCH, WIDTH = 2984, 128, 32


# %%
def validated(draw):
    """Return loss and recalls of a validation in batches, in which the image side is constant."""
    image = np.ones((PAIRS, WIDTH)) / math.sqrt(WIDTH)
    text = draw.normal(size=(PAIRS, WIDTH))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    scores = image @ text.T
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    hits = {k: float((ranked[:, :k] == np.arange(PAIRS)[:, None]).any(1).mean()) for k in (1, 5, 10)}
    # The text encoder has learned to give what the constant image side asks for: all logits are nearly equal.
    noise = 1e-6 * draw.normal(size=(BATCH, BATCH))
    loss = float(np.mean(np.log(np.exp(noise).sum(1)) - np.diag(noise)))
    return loss, hits


draw = np.random.default_rng(0)
log = FOLDER / "metrics.csv"
with log.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["step", "val_loss", "i2t_r1", "i2t_r5", "i2t_r10", "lr"])
    for step in range(100, 1100, 100):
        loss, hits = validated(draw)
        writer.writerow(
            [step, f"{loss:.5f}", *(f"{hits[k]:.7g}" for k in (1, 5, 10)), f"{1e-3 * (1 - step / 2000):.6f}"]
        )
print(log.read_text())

# %% [markdown]
# The losses are ln of something, the recalls are K over something: both are what a model gives that knows nothing. The
# audit finds the two numbers (a batch of 128, 2,984 pairs), and concludes that one side of the logits is constant,
# as nothing else gives a uniform softmax and the same ranking for every picture.

# %%
report = eg.audit(log)
report

# %% [markdown]
# A healthy log says nothing. Here the loss falls below chance, and recall rises above it.

# %%
healthy_log = FOLDER / "healthy.csv"
with healthy_log.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["step", "val_loss", "i2t_r1", "i2t_r5", "i2t_r10", "lr"])
    for step in range(100, 1100, 100):
        learned = 1 - math.exp(-step / 400)
        hits = [round(PAIRS * share * learned) / PAIRS for share in (0.2, 0.45, 0.6)]
        loss = math.log(BATCH) * (1 - 0.7 * learned) + 0.02 * draw.normal()
        writer.writerow([step, f"{loss:.5f}", *(f"{hit:.7g}" for hit in hits), f"{1e-3 * (1 - step / 2000):.6f}"])
healthy = eg.audit(healthy_log)
healthy

# %%
codes = [finding.code for finding in report.conclusions]
print(codes, report.inferred)
assert {"EG301", "EG401", "EG601"} <= set(codes)
assert report.inferred["batch_size"] == BATCH
assert report.inferred["n"] == PAIRS
assert [finding for finding in healthy.conclusions if finding.severity is eg.Severity.CRITICAL] == []
