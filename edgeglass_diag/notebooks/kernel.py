"""The notebook that this process is the kernel of, reached through the IPython that runs it; none is imported."""

from __future__ import annotations

import json
import multiprocessing
import sys
from typing import Any

from edgeglass_diag.notebooks.document import Document
from edgeglass_diag.notebooks.html import html
from edgeglass_diag.notebooks.markdown import markdown, plain


def in_kernel() -> bool:
    """Return whether this process is the kernel of a notebook, and no child of it."""
    get_ipython: Any = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else get_ipython()
    return getattr(shell, "kernel", None) is not None and multiprocessing.parent_process() is None


def show(document: Document) -> None:
    """Show a document where IPython shows what is displayed."""
    from IPython.display import display

    display(bundle(document), raw=True)


def show_figure(figure: Any) -> None:
    """Show a figure of plotly: its own ``show`` wants nbformat, which a kernel does not."""
    from IPython.display import display

    display({"application/vnd.plotly.v1+json": json.loads(figure.to_json())}, raw=True)


class Place:
    """A place in the output of the cell that is running, whose content is replaced.

    Args:
        document: its first content.
    """

    def __init__(self, document: Document) -> None:
        from IPython.display import display

        self._handle: Any = display(bundle(document), raw=True, display_id=True)

    def put(self, document: Document) -> None:
        """Replace what is shown."""
        self._handle.update(bundle(document), raw=True)


def bundle(document: Document) -> dict[str, str]:
    """Return a document in each form that a front end may choose from."""
    return {"text/html": html(document), "text/markdown": markdown(document), "text/plain": plain(document)}
