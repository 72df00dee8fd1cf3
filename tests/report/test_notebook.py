"""The evaluation notebook runs from top to bottom."""

import nbformat
import pytest

from edgeglass_diag.report.notebook import notebook
from tests.helpers.dashboard_runs import write_collapsed, write_healthy


@pytest.mark.slow
@pytest.mark.long
def test_the_notebook_of_a_trained_run_executes_and_keeps_its_outputs(command, tmp_path, feature_cache):
    small = [f"--set={setting}" for setting in ("data.train=256", "data.val=64", "data.test=64", "train.max_steps=2")]
    assert command("run", "baseline", *small, "--out", tmp_path / "run").returncode == 0
    write_collapsed(tmp_path / "foreign")
    file = tmp_path / "eval.ipynb"
    done = command("report", tmp_path, "--notebook", file, "--execute", cwd=tmp_path)
    assert done.returncode == 0, done.stderr  # the kernel has warnings of its own
    made = nbformat.read(file, as_version=4)
    nbformat.validate(made)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs) == 2 + 1 + 6 + 1
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "foreign: no embeddings to evaluate" in printed
    assert not (tmp_path / "report.html").exists()


def test_the_notebook_is_the_same_each_time_and_holds_names_as_text(tmp_path):
    write_healthy(tmp_path / "run", steps=20)
    name = '"); import os  # {split}'
    first, again = (notebook([(name, tmp_path / "run")], None) for _ in range(2))
    assert first == again
    made = nbformat.reads(first, as_version=4)
    nbformat.validate(made)
    for cell in made.cells:
        if cell.cell_type == "code":
            compile(cell.source, "cell", "exec")
    assert "import os" in made.cells[2].source
    scope: dict[str, object] = {}
    assignment = made.cells[2].source.split("folders = ")[1].split("\nsplit")[0]
    exec(f"folders = {assignment}", scope)
    assert list(scope["folders"]) == [name]
