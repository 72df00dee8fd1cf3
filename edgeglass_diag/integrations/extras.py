"""Say which extra an integration needs where its framework is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str, package: str) -> Iterator[None]:
    """Import a framework inside of this block.

    Args:
        name: of the extra of ``edgeglass-diag``.
        package: that it brings, by the name under which it is imported.

    Raises:
        ImportError: where the package is not installed; what a package that is there raises passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f"edgeglass_diag.integrations.{name} needs {package}, which is not installed: "
            f"pip install 'edgeglass-diag[{name}]'",
            name=package,
        ) from None
