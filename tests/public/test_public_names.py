"""The names of the package: few, lazy, listed, and typed for a user's type checker."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import edgeglass_diag as eg

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "numpy", "pandas", "plotly", "typer", "rich", "yaml")


def test_importing_is_light_and_the_names_are_listed():
    code = f"""
    import sys, edgeglass_diag as eg
    print(sorted(set({HEAVY}) & set(sys.modules)), [m for m in sys.modules if m.startswith("edgeglass_diag.")])
    print(*dir(eg))
    eg.Severity, eg.UsageError, eg.Schedule, eg.__version__
    print("torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True)
    light, names, torch = done.stdout.splitlines()
    assert light == "[] []"
    assert names.split() == sorted(eg.__all__)
    assert {"watch", "load", "check", "explain", "audit", "evaluate", "attribute", "Finding"} <= set(names.split())
    assert torch == "False"


def test_every_name_is_there_and_stays_when_its_package_is_imported():
    for name in eg.__all__:
        assert getattr(eg, name) is not None
    assert set(eg._HOMES) == set(eg.__all__) - {"__version__"}
    assert all(callable(getattr(eg, name)) for name in eg.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="module 'edgeglass_diag' has no attribute 'nonsense'"):
        eg.nonsense  # noqa: B018


def test_a_script_that_uses_them_is_typed_throughout(tmp_path):
    script = """
    import edgeglass_diag as eg
    from torch import nn, optim

    model = nn.Linear(4, 2)
    with eg.watch(model, optim.SGD(model.parameters()), out="run", rules=["EG8"], stop_on=["EG801"]) as watch:
        reveal_type(watch.findings)
    run = eg.load("run")
    reveal_type([(finding.code, finding.severity.rank, finding.message) for finding in run.findings])
    reveal_type(eg.explain(run, against="baseline").causes[0].cured)
    reveal_type(eg.explain(run))
    reveal_type(eg.check("recipe").verdict)
    reveal_type(eg.audit("log.csv").conclusions)
    reveal_type(eg.evaluate("embeddings.npz").i2t)
    reveal_type(eg.__version__)
    """
    (tmp_path / "script.py").write_text(dedent(script))
    # With the settings and the cache of make check, which has read torch and this package.
    line = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "script.py")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert (Path(eg.__file__).parent / "py.typed").is_file()
    said = [line.partition('type is "')[2].rstrip('"') for line in done.stdout.splitlines() if "Revealed" in line]
    assert done.returncode == 0, done.stdout
    assert "Any" not in done.stdout
    assert said == [
        "edgeglass_diag.records.Findings",
        "list[tuple[str, int, str]]",
        "str | None",
        "edgeglass_diag.explanation.report.ExplainReport",
        "tuple[str, ...]",
        "tuple[edgeglass_diag.records.Finding, ...]",
        "dict[str, float]",
        "str",
    ]
