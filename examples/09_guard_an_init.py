# %% [markdown]
# # Guard an initialisation: a test that fails before the training does
#
# `examples/init_guard/reader.py` is a small model whose learned queries read a sequence of tokens. Its queries start
# small (std 0.02), and a LayerNorm in front of the attention makes up for it. Somebody takes the LayerNorm away, as it
# "does nothing": all attention is uniform then, and hardly any gradient reaches the queries. No training is needed to
# see it. `eg.init_guard` builds the model, runs one batch forward and backward, and raises; its fixture of the same
# name does so in pytest.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

import edgeglass_diag as eg

HERE = next(folder for folder in (Path("examples"), Path()) if (folder / "init_guard").is_dir()) / "init_guard"
sys.path.insert(0, str(HERE))

from reader import Reader

torch.set_num_threads(1)  # the model is tiny: a second thread would only wait
tokens = torch.randn(8, 30, 64, generator=torch.Generator().manual_seed(0))

# %% [markdown]
# As it is, the model starts well. What was measured is returned, for further assertions.

# %%
inspection = eg.init_guard(Reader, tokens)
print([(found.site, round(found.logit_std, 3)) for found in inspection.attention])


# %%
class WithoutNorm(Reader):
    def __init__(self):
        super().__init__()
        self.norm = nn.Identity()


try:
    eg.init_guard(WithoutNorm, tokens)
except AssertionError as error:
    said = str(error)
print(said)

# %% [markdown]
# `eg.check` looks at the same model and returns a report instead of raising: where each initial value comes from, the
# signal that reaches each module, and the findings.

# %%
report = eg.check(lambda: (WithoutNorm(), tokens))
report

# %% [markdown]
# In a project the guard is a test. `--eg-update` writes down how the model starts now; the same test later fails where
# that has changed, and names the parameter and the line. `examples/init_guard/init-guard.yml` runs it for each pull
# request.


# %%
def guarded(folder, *options):
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_init.py", *options]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


project = Path(tempfile.mkdtemp(prefix="edgeglass-"))
for name in ("reader.py", "test_init.py"):
    (project / name).write_text((HERE / name).read_text())
updated, _ = guarded(project, "--eg-baseline", "init.json", "--eg-update")
text = (project / "reader.py").read_text()
(project / "reader.py").write_text(text.replace("std=0.02", "std=0.5"))
changed, output = guarded(project, "--eg-baseline", "init.json")
print(output[-1500:])

# %%
assert inspection.attention
assert "EG050" in said, said
assert "EG050" in {finding.code for finding in report.findings}
assert (updated, changed) == (0, 1), output
assert "queries" in output
