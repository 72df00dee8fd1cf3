# %% [markdown]
# # The incident: a Perceiver that learned nothing
#
# Two models align pictures with captions. Both have the same frozen towers and the same data. The baseline pools the
# picture's tokens and learns within a minute; the Perceiver resampler in its place ends with a loss of exactly chance,
# and with a recall of exactly 1/N. What went wrong, and from which step on?
#
# `edgeglass-diag run incident` trains both under observation. Here it is cut short: 1,920 pictures and 64 steps in
# place of the whole. The pictures are drawn, and the frozen towers come with the package: nothing is downloaded.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import edgeglass_diag as eg

OUT = Path(tempfile.mkdtemp(prefix="edgeglass-")) / "incident"
SHORT = ("data.train=1920", "data.val=128", "data.test=300", "train.epochs=6", "train.max_steps=64")
command = [sys.executable, "-m", "edgeglass_diag", "run", "incident", "--out", str(OUT)]
for setting in SHORT:
    command += ["--set", setting]
done = subprocess.run(command, capture_output=True, text=True, check=False)
print(done.stdout[-1500:], done.stderr[-500:])

# %% [markdown]
# Each run is a folder. The baseline:

# %%
baseline = eg.load(OUT / "baseline")
baseline

# %% [markdown]
# And the Perceiver. Its findings stand under the one that they follow from. A learning rate that is too high moves the
# weights by a tenth of themselves in a step; the attention saturates, its gradient vanishes; the image side becomes the
# same for every picture; so the softmax is uniform, the loss is at chance, and every query gets the same ranking.

# %%
perceiver = eg.load(OUT / "perceiver")
perceiver

# %% [markdown]
# The figures of the dashboard are here as well. The entropy of the attention by site and step:

# %%
perceiver.figure("attention")

# %%
print(eg.diagnose(perceiver))

# %% [markdown]
# What the diagnosis calls a guess, `edgeglass-diag explain` puts to the test: see `06_explain.py`.

# %%
assert done.returncode == 0, done.stderr
needs_action = [finding for finding in baseline.findings if finding.severity is not eg.Severity.INFO]
assert needs_action == [], needs_action
critical = {finding.code: finding for finding in perceiver.findings if finding.severity is eg.Severity.CRITICAL}
assert {"EG301", "EG401", "EG601"} <= set(critical), critical
assert critical["EG301"].because_of == "EG202"
assert critical["EG401"].because_of == "EG301"
recalls = [run.result["i2t"]["R@1"] for run in (baseline, perceiver)]
print(f"image to text R@1: baseline {recalls[0]:.3f}, perceiver {recalls[1]:.4f}, chance {1 / 300:.4f}")
assert recalls[0] > 0.5
assert abs(recalls[1] - 1 / 300) < 1e-9
