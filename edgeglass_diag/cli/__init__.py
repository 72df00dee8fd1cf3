"""The command line: one file for each group of verbs. Their work lives in ``edgeglass_diag.verbs``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from edgeglass_diag.cli import looking, proving, reading, reporting, running  # noqa: F401  each adds its verbs
from edgeglass_diag.cli.app import app
from edgeglass_diag.records import UsageError

OURS = ("edgeglass_diag", "edgeglass_models", "edgeglass_dashboards")


def main() -> None:
    """Run the command line; wrong use ends with exit status 2 and one line on stderr."""
    warnings.showwarning = _one_line_of_ours(warnings.showwarning)
    try:
        app()
    except UsageError as error:
        print(f"edgeglass-diag: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None


def _one_line_of_ours(other: Callable[..., None]) -> Callable[..., None]:
    """Print what our packages warn of as one plain line; the warnings of a user's program stay as they are."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if file is None and category is UserWarning and set(OURS) & set(Path(filename).parts):
            print(f"edgeglass-diag: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            other(message, category, filename, lineno, file, line)

    return show
