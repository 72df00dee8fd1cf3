"""Folders inside of a repository from which Python imports its packages: an editable install, or PYTHONPATH."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse


def import_roots(tree: Path) -> list[Path]:
    """Return the folders in a tree from which packages are imported whatever the working directory is.

    Without a change of them each revision of an installed program would import the present one.
    """
    own = 0 if sys.flags.safe_path else 1  # the first is the folder of what runs here, which the program need not have
    listed = [Path(entry).resolve() for entry in sys.path[own:] if entry]
    found = [*listed, *(root for each in distributions() if _is_editable(each, tree) for root in _roots(each))]
    return [root for root in dict.fromkeys(found) if root.is_relative_to(tree) and root.is_dir()]


def python_path(tree: Path, place: Path, roots: list[Path]) -> str:
    """Return ``PYTHONPATH`` for a revision: its own folders first, then what the user's has outside of the tree."""
    own = [str(place / root.relative_to(tree)) for root in roots]
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return os.pathsep.join([*own, *(entry for entry in given if not Path(entry).resolve().is_relative_to(tree))])


def _is_editable(distribution: Distribution, tree: Path) -> bool:
    text = distribution.read_text("direct_url.json")
    facts = json.loads(text) if text else {}
    folder = Path(unquote(urlparse(facts.get("url", "")).path)).resolve()
    return bool(facts.get("dir_info", {}).get("editable")) and folder.is_relative_to(tree)


def _roots(distribution: Distribution) -> Iterator[Path]:
    """Yield the folders that hold the packages of an editable install whose folder no entry of ``sys.path`` names."""
    for name in (distribution.read_text("top_level.txt") or "").split():
        spec = find_spec(name)
        for place in (spec and spec.submodule_search_locations) or ():
            yield Path(place).resolve().parent
