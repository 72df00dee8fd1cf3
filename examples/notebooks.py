"""Build the numbered course in this folder into notebooks, and run them.

    python examples/notebooks.py runs/notebooks --execute            # all, each from top to bottom
    python examples/notebooks.py runs/notebooks --execute 02 07      # these

A script of the course is a plain script whose cells begin with `# %%`. What a notebook shows is kept in it; one that
fails is kept with its error, and the exit status is 1.
"""

import argparse
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbformat.notebooknode import NotebookNode

HERE = Path(__file__).resolve().parent
TIMEOUT = 600
"""Seconds of a cell."""


def course(numbers: list[str] | None = None) -> list[Path]:
    """Return the scripts of the course in their order, or those of these numbers."""
    scripts = sorted(HERE.glob("[0-9][0-9]_*.py"))
    chosen = [script for script in scripts if not numbers or script.name[:2] in numbers]
    if unknown := set(numbers or ()) - {script.name[:2] for script in scripts}:
        raise ValueError(
            f"expected numbers of the course, 01 to {scripts[-1].name[:2]}, got {', '.join(sorted(unknown))}"
        )
    return chosen


def built(script: Path) -> NotebookNode:
    """Return a script as a notebook without outputs, the same each time."""
    notebook = jupytext.reads(script.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    nbformat.validate(notebook)
    return notebook


def executed(notebook: NotebookNode) -> str:
    """Run a notebook in place, in the folder above this one; return the error that ended it, empty without one."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from traitlets.config import Config

    no_port = Config({"KernelManager": {"transport": "ipc"}})
    place = {"metadata": {"path": str(HERE.parent)}}
    client = NotebookClient(notebook, timeout=TIMEOUT, resources=place, config=no_port)
    try:
        client.execute()
    except CellExecutionError as error:
        return str(error)
    return ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the course into notebooks, and run them.")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("numbers", nargs="*", help="such as 02; all if none is given")
    parser.add_argument("--execute", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    try:
        scripts = course(options.numbers)
    except ValueError as error:
        print(f"notebooks: {error}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for script in scripts:
        notebook, begun = built(script), time.monotonic()
        error = executed(notebook) if options.execute else ""
        nbformat.write(notebook, options.out / f"{script.stem}.ipynb")
        took = f" in {time.monotonic() - begun:.0f} s" if options.execute else ""
        print(
            f"{script.stem}: {'failed' if error else 'ran' if options.execute else 'built'}{took}\n{error}".rstrip(),
            flush=True,
        )
        failed += bool(error)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
