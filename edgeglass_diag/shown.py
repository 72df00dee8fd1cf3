"""What a notebook calls to show an object of ours; how it looks is made in ``edgeglass_diag.notebooks``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeglass_diag.notebooks.document import Document


class Shown:
    """Can be shown in a notebook, as HTML and as Markdown."""

    __slots__ = ()

    def _document(self) -> Document:
        """Return what is shown."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        from edgeglass_diag.notebooks.html import html

        return html(self._document())

    def _repr_markdown_(self) -> str:
        from edgeglass_diag.notebooks.markdown import markdown

        return markdown(self._document())
