"""Files stay short, and classes of the recorder have few public methods."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = 300
METHODS = 12


def test_no_file_is_longer_than_300_lines():
    files = [
        file for name in ("edgeglass_diag", "dashboards", "models", "tests") for file in (ROOT / name).rglob("*.py")
    ]
    files += (ROOT / "dashboards").rglob("assets/*.js")
    assert len(files) > 700
    long = {str(file.relative_to(ROOT)): lines for file in files if (lines := file.read_text().count("\n")) > LINES}
    assert not long


def test_classes_of_the_recorder_have_at_most_12_public_methods():
    trees = [ast.parse(file.read_text()) for file in (ROOT / "edgeglass_diag" / "record").glob("*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert len(classes) > 50
    methods = {
        node.name: sum(isinstance(part, ast.FunctionDef) and not part.name.startswith("_") for part in node.body)
        for node in classes
    }
    assert not {name: count for name, count in methods.items() if count > METHODS}
