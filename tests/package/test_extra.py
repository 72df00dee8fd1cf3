"""What each extra brings: used where it is installed, and nothing beyond it."""

import json
import re

import pytest

from tests.package.conftest import NUMPY_PAIRS, Installed, environment

pytestmark = pytest.mark.long


@pytest.fixture
def with_extra(tmp_path, installed):
    made = []

    def make(*extras):
        made.append(Installed(environment(tmp_path, installed, *extras), tmp_path))
        return made[0]

    yield make
    for each in made:
        each.server.close()


def recorded(package):
    """Record the training; return the name of its folder."""
    done = package("run", "--every", "1", "--out", "mine", "train.py")
    assert done.returncode == 0, done.stderr
    return "mine"


def test_figures_draw_a_run(with_extra):
    package = with_extra("figures")
    recorded(package)
    code = "import edgeglass_diag as eg; print(len(eg.load('mine').figure('loss').data))"
    assert int(package.python_says(code)) > 0


def test_dashboard_writes_a_run_as_one_page(with_extra):
    package = with_extra("dashboard")
    done = package("dashboard", recorded(package), "--static", "page.html")
    assert (done.returncode, (package.folder / "page.html").stat().st_size > 1e6) == (0, True), done.stderr


def test_evaluate_draws_embeddings(with_extra):
    package = with_extra("evaluate")
    package.python_says(NUMPY_PAIRS)
    done = package("eval", "pairs.npy", "--figures", "drawn")
    assert done.returncode == 0, done.stderr
    assert {"tsne.html", "umap.html", "recall.html"} <= {file.name for file in (package.folder / "drawn").iterdir()}


def test_report_is_written_of_a_run(with_extra):
    package = with_extra("report")
    done = package("report", recorded(package), "--notebook", "mine.ipynb", "--out", "mine.html")
    assert done.returncode == 0, done.stderr
    assert json.loads((package.folder / "mine.ipynb").read_text())["cells"]
    assert "EG003" in (package.folder / "mine.html").read_text()


def test_models_train_a_recipe(with_extra):
    package = with_extra("models")
    sizes = ("data.train=64", "data.val=32", "data.test=32", "train.batch_size=32", "train.max_steps=3")
    done = package("run", "baseline", *(f"--set={size}" for size in sizes), "--out", "base", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["status"] == "finished"
    said = package("run", "nonsense")
    assert (said.returncode, bool(re.search("incident", said.stderr))) == (2, True)
