"""The command line: one file for each group of verbs. Their work lives in ``edgeglass_diag.verbs``."""

from __future__ import annotations

import sys

from edgeglass_diag.cli import proving, reading, reporting, running  # noqa: F401  each adds its verbs to the app
from edgeglass_diag.cli.app import app
from edgeglass_diag.records import UsageError


def main() -> None:
    """Run the command line; wrong use ends with exit status 2 and one line on stderr."""
    try:
        app()
    except UsageError as error:
        print(f"edgeglass-diag: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
