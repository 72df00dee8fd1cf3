"""What is in the distribution, and the files that say what it is."""

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import edgeglass_diag as eg
from tests.package.versions import versions

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / ".github" / "workflows").glob("*.yml")}
FORMS = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The names in the sdist."""
    out = tmp_path_factory.mktemp("sdist")
    line = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(out)]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)
    (file,) = out.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_version_is_the_same_everywhere():
    assert set(versions().values()) == {eg.__version__} == {version("edgeglass-diag")}
    told = [sys.executable, ROOT / "tests" / "package" / "versions.py"]
    assert subprocess.run([*told, f"v{eg.__version__}"], check=False).returncode == 0
    wrong = subprocess.run([*told, "v9.9.9"], capture_output=True, text=True)
    assert (wrong.returncode, "tag v9.9.9: pyproject.toml has" in wrong.stderr) == (1, True)


def test_the_sdist_has_what_builds_tests_and_documents_it(source):
    wanted = {
        "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile", "constraints.txt",
        "edgeglass_diag/py.typed", "tests/conftest.py", "docs/installing.md",
        "models/edgeglass_models/__init__.py", "dashboards/edgeglass_dashboards/__init__.py", "PKG-INFO",
    }  # fmt: skip
    templates = {name for name in source if name.startswith("edgeglass_diag/report/") and not name.endswith(".py")}
    assert wanted <= source
    assert templates
    assert any(name.startswith("models/edgeglass_models/tiny_clip/weights/") for name in source)


def test_the_sdist_has_no_trace_of_the_machine_that_made_it(source):
    parts = {part for name in source for part in Path(name).parts}
    caches = {"__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "dist", "runs"}
    assert not parts & {*caches, ".ci", ".git"}
    assert not [name for name in source if name.endswith((".pyc", ".sqlite"))]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_alone_and_names_the_version_of_each_action(name):
    flow = WORKFLOWS[name]
    assert flow["permissions"] == {"contents": "read"}
    for job in flow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert "@" in step.get("uses", "@")
            assert "${{" not in step.get("run", ""), "what others may write is no part of a script"
            checkout = step.get("uses", "").startswith("actions/checkout@")
            assert not checkout or step["with"]["persist-credentials"] is False


def test_the_workflows_call_targets_that_there_are():
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    lines = [
        step.get("run", "") for flow in WORKFLOWS.values() for job in flow["jobs"].values() for step in job["steps"]
    ]
    called = {line.split()[1] for line in lines if line.startswith("make ")}
    assert called >= {"test", "test-package"}
    assert called - {"site"} <= targets  # the site's target comes with the site


def test_a_release_has_no_password():
    publish = WORKFLOWS["release"]["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "password" not in yaml.safe_dump(publish)


@pytest.mark.parametrize("name", ["false_alarm", "missed_fault"])
def test_what_judges_wrongly_is_told_with_its_diagnosis_and_record(name):
    required = {part["id"] for part in FORMS[name]["body"] if part.get("validations", {}).get("required")}
    assert {"diagnosis", "record"} <= required
    (asked,) = [part["attributes"]["label"] for part in FORMS[name]["body"] if part["id"] == "diagnosis"]
    assert "edgeglass-diag diagnose RUN --json" in asked
