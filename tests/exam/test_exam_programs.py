"""Each program of the exam, run as a user runs it, learns what its docstring says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import edgeglass_models
from tests.helpers.waiting import PATIENCE

MODELS = Path(edgeglass_models.__file__).parent
PROGRAMS = sorted(path for path in (MODELS / "exam" / "programs").glob("*.py") if path.stem != "__init__")

pytestmark = pytest.mark.long


def missing_packages(tree: ast.Module) -> list[str]:
    """Return the packages that a program imports and that this environment lacks (the extra ``exam`` brings them)."""
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return sorted(name for name in {module.split(".")[0] for module in named} if find_spec(name) is None)


def bound(docstring: str) -> float:
    """Return the middle between chance and the usual value, which a program states beside its measure."""
    chance = re.search(r"(?:chance|constant gives) (\d[\d.]*\d|\d)", docstring, re.IGNORECASE)
    usual = re.search(r"usual\s+value (\d[\d.]*\d|\d)", docstring)
    assert chance, f"expected 'chance <number>' in the docstring; got {docstring!r}"
    assert usual, f"expected 'usual value <number>' in the docstring; got {docstring!r}"
    return (float(chance[1]) + float(usual[1])) / 2


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_of_the_exam_learns_and_says_so_in_its_last_line(program: Path, tmp_path: Path) -> None:
    tree = ast.parse(program.read_text())
    if missing := missing_packages(tree):
        pytest.skip(f"the extra exam is not installed: {', '.join(missing)}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(MODELS.parent)}
    done = subprocess.run(
        [sys.executable, str(program), "--seed", "0"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    last = done.stdout.splitlines()[-1]
    found = re.fullmatch(r"measure (\S+) (-?\d+\.\d+)", last)
    assert found, f"expected 'measure <name> <value>' as the last line; got {last!r}"
    assert float(found[2]) > bound(ast.get_docstring(tree) or ""), last


def test_the_exam_has_programs_of_many_styles() -> None:
    assert len(PROGRAMS) >= 9
