"""How many planted defects the property suite finds: each is patched into a copy of the sources, and the suite run.

    python tests/benchmarks/mutations.py            # prints the table
    python tests/benchmarks/mutations.py --only 3 7 # some of them

A defect is found where a test fails in the run. The suite also runs unmutated, and must pass. Profile ``dev``, with a
seed that is printed, so that a result can be repeated.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch._higher_order_ops.flex_attention  # noqa: F401 - loaded once, before the forks

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "edgeglass_diag", "models", "dashboards", "tests/__init__.py", "tests/helpers", "tests/fuzz", "tests/properties",
    "pyproject.toml",
)  # fmt: skip
DIAG, MODELS = "edgeglass_diag", "models/edgeglass_models"


@dataclass(frozen=True)
class Mutation:
    """One defect: ``old`` is replaced by ``new`` once in ``file``; ``near`` names the tests that run first."""

    what: str
    file: str
    old: str
    new: str
    near: str


INIT = "test_init_properties.py"
ATTENTION = "test_attention_properties.py"
GEOMETRY = "test_geometry_properties.py"
RETRIEVAL = "test_retrieval_properties.py"
STORE = "test_store_properties.py"
RULES = "test_rule_properties.py"

MUTATIONS = (
    Mutation("norm before the queries dropped", f"{MODELS}/perceiver.py", "self.attention(self.norm_latents(latents),",
             "self.attention(latents,", INIT),
    Mutation("norm before the tokens dropped", f"{MODELS}/perceiver.py", "self.norm_tokens(tokens))", "tokens)", INIT),
    Mutation("norm before the MLP dropped", f"{MODELS}/perceiver.py", "self.mlp(self.norm_mlp(latents))",
             "self.mlp(latents)", INIT),
    Mutation("norms of latents and tokens always shared", f"{MODELS}/perceiver.py",
             'if norm == "pre_shared" else make(width)', 'if norm != "none" else make(width)', INIT),
    Mutation("latents' std x 0.1", f"{MODELS}/perceiver.py", "nn.init.trunc_normal_(latents, std=0.02)",
             "nn.init.trunc_normal_(latents, std=0.002)", INIT),
    Mutation("latents' std x 10", f"{MODELS}/perceiver.py", "nn.init.normal_(self.latents, std=0.02)",
             "nn.init.normal_(self.latents, std=0.2)", INIT),
    Mutation("zero latents", f"{MODELS}/perceiver.py", "nn.init.orthogonal_(latents)", "nn.init.zeros_(latents)", INIT),
    Mutation("shared latents", f"{MODELS}/perceiver.py", "            nn.init.normal_(latents)\n",
             "            nn.init.normal_(latents[:1]); latents.data[:] = latents.data[:1]\n", INIT),
    Mutation("1 / sqrt(d) forgotten in the resampler", f"{MODELS}/perceiver.py",
             "self._split(self.to_value(tokens))\n", "self._split(self.to_value(tokens)), scale=1.0\n", INIT),
    Mutation("residual of the attention dropped", f"{MODELS}/perceiver.py", "latents = latents + self.attention(",
             "latents = self.attention(", INIT),
    Mutation("queries and keys swap projections", f"{MODELS}/perceiver.py", "self._split(self.to_key(tokens))",
             "self._split(self.to_query(tokens))", INIT),
    Mutation("1 / sqrt(D) forgotten in the pooling", f"{MODELS}/pooling.py", " / math.sqrt(normed.shape[-1])", "",
             INIT),
    Mutation("norm of the pooling dropped", f"{MODELS}/pooling.py", "normed = self.norm(tokens)", "normed = 9 * tokens",
             INIT),
    Mutation("fan-in and fan-out swapped (LeCun)", f"{DIAG}/initcheck/schemes.py", "return 1 / math.sqrt(fans[0])",
             "return 1 / math.sqrt(fans[1])", INIT),
    Mutation("fan-in and fan-out swapped (Kaiming)", f"{DIAG}/initcheck/schemes.py",
             'nn.init.kaiming_normal_(t, nonlinearity="relu")',
             'nn.init.kaiming_normal_(t, nonlinearity="relu", mode="fan_out")', INIT),
    Mutation("depth scaling forgotten", f"{DIAG}/initcheck/schemes.py", "0.02 / math.sqrt(2 * layers)",
             "0.02 / math.sqrt(2)", INIT),
    Mutation("muP readout with variance 1 / fan_in", f"{DIAG}/initcheck/schemes.py", "return 1 / fans[0]\n",
             "return fans[0] ** -0.5\n", INIT),
    Mutation("predicted logits without 1 / sqrt(d)", f"{DIAG}/initcheck/prediction.py",
             "factor = 1 / math.sqrt(head_width) if scale is None", "factor = 1.0 if scale is None", INIT),
    Mutation("entropy without ln n", f"{DIAG}/measures/logits.py", "entropy / logarithm, total", "entropy, total",
             ATTENTION),
    Mutation("attention measured without 1 / sqrt(d)", f"{DIAG}/measures/attention.py",
             "factor = 1 / math.sqrt(query.shape[-1]) if", "factor = 1.0 if", ATTENTION),
    Mutation("variance of the logits for their std", f"{DIAG}/measures/attention.py", "logit_std=means[1].sqrt()",
             "logit_std=means[1]", ATTENTION),
    Mutation("padding mass turned round", f"{DIAG}/measures/logits.py", "torch.sigmoid(hidden - total.log() - maximum)",
             "torch.sigmoid(total.log() + maximum - hidden)", ATTENTION),
    Mutation("causal mask hides the diagonal", f"{DIAG}/measures/masks.py", "(keys <= self.positions[rows])",
             "(keys < self.positions[rows])", ATTENTION),
    Mutation("effective rank from squared singular values", f"{DIAG}/measures/geometry.py", ".clamp(min=0).sqrt()",
             ".clamp(min=0)", GEOMETRY),
    Mutation("mean cosine counts each row with itself", f"{DIAG}/measures/geometry.py",
             "- unit.square().sum()) / (count * (count - 1))", ") / count**2", GEOMETRY),
    Mutation("gap without normalising", f"{DIAG}/measures/geometry.py", "normalize(_full(text), dim=-1).mean(0)",
             "_full(text).mean(0)", GEOMETRY),
    Mutation("alignment without the square", f"{DIAG}/measures/geometry.py",
             "normalize(_full(text), dim=-1)).square().sum(-1).mean()",
             "normalize(_full(text), dim=-1)).norm(dim=-1).mean()", GEOMETRY),
    Mutation("uniformity counts each row with itself", f"{DIAG}/measures/geometry.py", ".triu(1).sum()",
             ".triu(0).sum()", GEOMETRY),
    Mutation("sample signal over the spread alone", f"{DIAG}/measures/geometry.py",
             "energy = spread + mean.square().sum()\n    return torch.where(energy == 0, torch.zeros_like(energy)",
             "energy = mean.square().sum()\n    return torch.where(energy == 0, torch.zeros_like(energy)", GEOMETRY),
    Mutation("distinct rows of rows that are not unit", f"{DIAG}/measures/geometry.py",
             "unit = normalize(_full(values), dim=-1)\n    length, width", "unit = _full(values)\n    length, width",
             GEOMETRY),
    Mutation("sample signal of activations without the mean", f"{DIAG}/measures/activations.py",
             "energy = spread + mean.square().mean((1, 2))", "energy = spread", GEOMETRY),
    Mutation("mean square for rms", f"{DIAG}/measures/activations.py", "rms=energy.sqrt() * unit",
             "rms=energy * unit", GEOMETRY),
    Mutation("update over the new weight", f"{DIAG}/measures/gradients.py", "moved / norms(before)",
             "moved / norms(after)", GEOMETRY),
    Mutation("slice after normalising (head)", f"{MODELS}/mrl.py",
             "prefix = embedding if dim is None else embedding[..., :dim]\n        return normalize(prefix, dim=-1)",
             "return normalize(embedding, dim=-1)[..., :dim]", RETRIEVAL),
    Mutation("one direction of the loss", f"{MODELS}/losses.py", "cross_entropy(logits.T, labels)) / 2",
             "cross_entropy(logits, labels)) / 2", RETRIEVAL),
    Mutation("ties count for the match", f"{DIAG}/measures/ranking.py",
             "torch.where(placement.relevant == 1, (places / tied).clamp(max=1), 1 - missed)", "(places > 0).double()",
             RETRIEVAL),
    Mutation("ranks from 0", f"{DIAG}/measures/ranking.py", "return 1 + placement.better + placement.rivals",
             "return placement.better + placement.rivals", RETRIEVAL),
    Mutation("recall better for any gallery", f"{DIAG}/measures/ranking.py",
             "places = (k - placement.better)", "places = (k + 1 - placement.better)", RETRIEVAL),
    Mutation("chance level in bits", f"{DIAG}/measures/chance.py", "math.log(candidates)", "math.log2(candidates)",
             RETRIEVAL),
    Mutation("floor of the loss for B instead of B - 1", f"{DIAG}/measures/chance.py",
             "scale * candidates / (candidates - 1)", "scale", RETRIEVAL),
    Mutation("NaN kept as a number", f"{DIAG}/store/layouts.py", 'np.array(scalars, "<f8").tobytes()',
             'np.nan_to_num(np.array(scalars, "<f8")).tobytes()', STORE),
    Mutation("vectors in half precision", f"{DIAG}/store/layouts.py", 'np.array(vectors, "<f4").tobytes()',
             'np.array(vectors, "<f2").astype("<f4").tobytes()', STORE),
    Mutation("loss at chance judged from the wrong side", f"{DIAG}/rules/training_state.py", "value >= -tolerance",
             "value <= tolerance", RULES),
    Mutation("relative loss against 1 instead of chance", f"{DIAG}/rules/history.py", "(total - chance) / chance)",
             "total - chance)", RULES),
    Mutation("small queries behind any attention", f"{DIAG}/rules/inspection.py",
             "not 0 < rms < self.rms or not own < self.logit_std", "not own < self.logit_std", RULES),
)  # fmt: skip


def run_suite(folder: Path, near: str, seed: int) -> tuple[bool, str]:
    """Whether the suite passes in a folder, and the first test that failed; in a fork that has torch loaded."""
    output = folder / "output.txt"
    child = os.fork()
    if child == 0:
        status = 3
        try:
            status = _in_fork(folder, near, seed, output)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = output.read_text(encoding="utf-8", errors="replace")
    if status not in (0, 1):
        raise SystemExit(f"the suite did not run ({status}):\n{text[-3000:]}")
    failed = [row for row in text.splitlines() if row.startswith(("FAILED", "ERROR"))]
    return status == 0, failed[0].split("::")[-1].split(" ")[0].split("[")[0] if failed else ""


def _in_fork(folder: Path, near: str, seed: int, output: Path) -> int:
    with output.open("wb") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    os.chdir(folder)
    os.environ["EDGEGLASS_PROPERTIES"] = "mutations"
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(folder / part) for part in ("", "models", "dashboards")]
    files = sorted((folder / "tests/properties").glob("test_*.py"), key=lambda file: (file.name != near, file.name))
    options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}"]
    return int(pytest.main([*options, *map(str, files)]))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the mutations to run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = [(i, m) for i, m in enumerate(MUTATIONS, 1) if options.only is None or i in options.only]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "copy"
        for part in COPIED:
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        start = time.monotonic()
        passes, failed = run_suite(folder, "", options.seed)
        print(
            f"unmutated: {'passes' if passes else f'FAILS in {failed}'} ({time.monotonic() - start:.0f} s)", flush=True
        )
        print("\n| # | defect | found by |\n| --- | --- | --- |", flush=True)
        killed = sum(report(number, mutation, folder, options.seed) for number, mutation in chosen)
    print(f"\n{killed} of {len(chosen)} found ({killed / len(chosen):.0%}), seed {options.seed}")


def report(number: int, mutation: Mutation, folder: Path, seed: int) -> bool:
    """Plant one defect, run, print its row, take it away again."""
    file = folder / mutation.file
    source = file.read_text(encoding="utf-8")
    if source.count(mutation.old) != 1:
        raise SystemExit(
            f"mutation {number}: {mutation.old!r} is {source.count(mutation.old)} times in {mutation.file}"
        )
    file.write_text(source.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        passes, failed = run_suite(folder, mutation.near, seed)
    finally:
        file.write_text(source, encoding="utf-8")
    print(f"| {number} | {mutation.what} | {'**not found**' if passes else failed} |", flush=True)
    return not passes


if __name__ == "__main__":
    main()
