"""What the package does where none of its extras is installed."""

import json
import subprocess

import pytest

from edgeglass_diag.extras import EXTRAS
from tests.package.conftest import NUMPY_PAIRS

PROBE = """
import json, sys
from importlib.util import find_spec
print(json.dumps([name for name in sys.argv[1:] if find_spec(name)]))
"""


@pytest.fixture(scope="module")
def run(core):
    """A folder with a record of the training, without a word of it in the terminal's JSON."""
    done = core("run", "--every", "1", "--out", "mine", "train.py")
    assert done.returncode == 0, done.stderr
    assert "EG003" in done.stdout + done.stderr
    return core.folder / "mine"


def test_nothing_of_the_extras_is_there(core):
    names = sorted({module for name in EXTRAS if name != "test" for module in EXTRAS[name]} - {"jinja2"})
    probe = subprocess.run([core.python, "-c", PROBE, *names], capture_output=True, text=True, check=True)
    assert json.loads(probe.stdout) == []  # torch brings jinja2


def test_a_recorded_training_is_judged(core, run):
    done = core("findings", run, "--json")
    assert done.returncode == 0, done.stderr
    assert "EG003" in {found["code"] for found in json.loads(done.stdout)}
    assert "EG003" in core("diagnose", run).stdout


def test_a_training_is_checked_before_its_first_step(core):
    done = core("check", "train.py", "--fail-on", "warning", "--sarif", "found.sarif")
    assert (done.returncode, "EG003" in done.stdout) == (1, True), done.stderr
    (found,) = json.loads((core.folder / "found.sarif").read_text())["runs"]
    assert "EG003" in {result["ruleId"] for result in found["results"]}


def test_a_log_is_audited(core):
    rows = [{"step": step, "val/loss": 4.158883, "val/R@1": 0.9} for step in range(20)]
    (core.folder / "log.json").write_text(json.dumps(rows))
    (core.folder / "hparams.yaml").write_text("batch_size: 64\n")
    done = core("audit", "log.json")
    assert (done.returncode, "batch_size = 64" in done.stdout) == (0, True), done.stderr


def test_runs_are_compared_and_exported_and_rules_are_told(core, run):
    for words in (("compare", run, run), ("export", run, "--to", "csv"), ("rules", "EG003")):
        done = core(*words)
        assert (done.returncode, done.stdout != "") == (0, True), (words, done.stderr)


def test_embeddings_are_evaluated(core):
    core.python_says(NUMPY_PAIRS)
    done = core("eval", "pairs.npy", "--json")
    assert (done.returncode, json.loads(done.stdout)["n_images"]) == (0, 32), done.stderr


SCREEN = "dash and dash-mantine-components and plotly and waitress"
DRAWING = "captum and pillow and plotly and pyarrow and scikit-learn and umap-learn"
MISSING = {
    "run incident": ("a recipe", "lightning-fabric and open_clip_torch and pillow and pyarrow", "models"),
    "run --watch train.py": ("the dashboard", SCREEN, "dashboard"),
    "dashboard .": ("the dashboard", SCREEN, "dashboard"),
    "report mine": ("report", "nbformat and plotly and scikit-learn and umap-learn", "report"),
    "eval pairs.npy --figures drawn": ("--figures", DRAWING, "evaluate"),
    "eval pairs.parquet": ("pairs.parquet", "pyarrow", "evaluate"),
    "attribute mine": ("attribute", DRAWING, "evaluate"),
    "audit run-1.wandb": ("run-1.wandb: a W&B log", "wandb", "wandb"),
    "audit events.out.tfevents.1": ("events.out.tfevents.1: an event file", "tensorboard", "tensorboard"),
    "export mine --to parquet": ("--to parquet", "pyarrow", "parquet"),
    "run --report-to wandb train.py": ("--report-to wandb", "wandb", "wandb"),
    "mcp": ("mcp", "anyio and mcp", "mcp"),
}


@pytest.mark.parametrize("words", MISSING)
def test_a_verb_names_the_extra_that_it_needs(core, run, words):
    for name in ("pairs.parquet", "run-1.wandb", "events.out.tfevents.1"):
        (core.folder / name).write_bytes(b":W&B")
    done = core(*words.split())
    what, needed, extra = MISSING[words]
    lack = "are not installed" if " and " in needed else "is not installed"
    expected = f"edgeglass-diag: {what} needs {needed}, which {lack}: pip install 'edgeglass-diag[{extra}]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert not (core.folder / "drawn").exists()


def test_a_figure_in_python_names_it_too(core, run):
    code = "import edgeglass_diag as eg\ntry: eg.load('mine').figure('loss')\nexcept ImportError as e: print(e)"
    assert (
        core.python_says(code)
        == "a figure needs plotly, which is not installed: pip install 'edgeglass-diag[figures]'\n"
    )


@pytest.mark.long
def test_steps_are_profiled(core):
    done = core("profile", "--out", "traced", "train.py")
    assert (done.returncode, list((core.folder / "traced" / "profile").iterdir()) != []) == (0, True), done.stderr


@pytest.mark.long
def test_a_training_is_explained_by_replays(core):
    done = core("explain", "train.py", "--out", "why", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"]
    assert told["trials"]
