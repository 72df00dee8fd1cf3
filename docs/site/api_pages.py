"""A page for each name that ``import edgeglass_diag`` offers, and for each integration; mkdocstrings writes it."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import edgeglass_diag

INTEGRATIONS = Path(edgeglass_diag.__file__).parent / "integrations"


def pages() -> dict[str, str]:
    """Return the page of each public name, by its path, and the table of all of them."""
    named = {_path(name): f"---\ntitle: {name}\n---\n\n::: edgeglass_diag.{name}\n" for name in _names()}
    integrations = {
        f"api/integrations/{name}.md": f"---\ntitle: {name}\n---\n\n::: edgeglass_diag.integrations.{name}.Diagnose\n"
        for name in integrations_of_trainers()
    }
    return {"api/index.md": _index(), **named, **integrations}


def navigation() -> list[object]:
    """Return functions first, then types, for the navigation."""
    functions = [_path(name) for name in _names() if not _is_type(name)]
    types = [_path(name) for name in _names() if _is_type(name)]
    integrations = [f"api/integrations/{name}.md" for name in integrations_of_trainers()]
    return ["api/index.md", {"Functions": functions}, {"Types": types}, {"Integrations": integrations}]


def integrations_of_trainers() -> list[str]:
    """Return the modules with a ``Diagnose``, none of which is imported: their frameworks may be missing."""
    return sorted(
        path.stem
        for path in INTEGRATIONS.glob("*.py")
        if any(isinstance(node, ast.ClassDef) and node.name == "Diagnose" for node in ast.parse(path.read_text()).body)
    )


def _names() -> list[str]:
    return [name for name in dir(edgeglass_diag) if not name.startswith("_")]


def _is_type(name: str) -> bool:
    return isinstance(getattr(edgeglass_diag, name), type) and name[0].isupper()


def _path(name: str) -> str:
    return f"api/types/{name}.md" if _is_type(name) else f"api/{name}.md"


def _index() -> str:
    """Return the table of the public names, each with the first sentence of its text."""
    parts = [
        "# Python API",
        "`import edgeglass_diag as eg` offers these names; each is imported when it is first used. "
        "`eg.__version__` is the version that is installed.",
    ]
    for head, are_types in (("Functions", False), ("Types", True)):
        rows = [
            f"| [`{n}`]({_path(n).removeprefix('api/')}) | {_sentence(n)} |"
            for n in _names()
            if _is_type(n) is are_types
        ]
        parts += [f"## {head}", "\n".join(["| name | what |", "| --- | --- |", *rows])]
    rows = [
        f"| [`edgeglass_diag.integrations.{n}.Diagnose`](integrations/{n}.md) | {_first_line(n)} |"
        for n in integrations_of_trainers()
    ]
    parts += ["## Integrations", "\n".join(["| name | what |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def _sentence(name: str) -> str:
    text = inspect.getdoc(getattr(edgeglass_diag, name)) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")


def _first_line(integration: str) -> str:
    text = ast.get_docstring(ast.parse((INTEGRATIONS / f"{integration}.py").read_text())) or ""
    return text.partition("\n\n")[0].replace("``", "`")
