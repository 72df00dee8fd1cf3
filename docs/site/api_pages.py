"""A page for each name that ``import edgeglass_diag`` offers; mkdocstrings writes it."""

from __future__ import annotations

import inspect

import edgeglass_diag


def pages() -> dict[str, str]:
    """Return the page of each public name, by its path, and the table of all of them."""
    named = {_path(name): f"---\ntitle: {name}\n---\n\n::: edgeglass_diag.{name}\n" for name in _names()}
    return {"api/index.md": _index(), **named}


def navigation() -> list[object]:
    """Return functions first, then types, for the navigation."""
    functions = [_path(name) for name in _names() if not _is_type(name)]
    types = [_path(name) for name in _names() if _is_type(name)]
    return ["api/index.md", {"Functions": functions}, {"Types": types}]


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
    return "\n\n".join(parts) + "\n"


def _sentence(name: str) -> str:
    text = inspect.getdoc(getattr(edgeglass_diag, name)) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")
