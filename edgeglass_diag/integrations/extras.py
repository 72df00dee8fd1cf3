"""Say which extra an integration needs where its framework is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import a framework inside of this block.

    Args:
        name: of the extra, of the module of ours that needs it, and of the package that it brings.

    Raises:
        ImportError: where the package is not installed; what a package that is there raises passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(
            f"edgeglass_diag.integrations.{name} needs {name}, which is not installed: "
            f"pip install 'edgeglass-diag[{name}]'",
            name=name,
        ) from None
