"""``python -m edgeglass_diag``: the command line."""

from __future__ import annotations

from edgeglass_diag.commands import main

if __name__ == "__main__":
    main()
