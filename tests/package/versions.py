"""The version, in all places that have it; ``versions.py v1.2.3`` fails where a tag names another."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def versions() -> dict[str, str]:
    """Return the version by the file that has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (cited,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    return {"pyproject.toml": project["version"], "CITATION.cff": cited}


if __name__ == "__main__":
    tag = sys.argv[1].removeprefix("v")
    wrong = {place: version for place, version in versions().items() if version != tag}
    if wrong:
        sys.exit(f"tag {sys.argv[1]}: {', '.join(f'{place} has {version}' for place, version in wrong.items())}")
