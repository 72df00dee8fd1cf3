"""Environments that hold what pip installs for this package: links to what is installed here, made in a second."""

from __future__ import annotations

import venv
from collections.abc import Collection
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def required(start: Distribution, *extras: str) -> dict[str, Distribution]:
    """What pip installs for a distribution: itself and all that it requires, by name."""
    found: dict[str, Distribution] = {}
    asked: set[tuple[str, str]] = set()
    waiting = [(start, ("", *extras))]
    while waiting:
        dist, wanted = waiting.pop()
        name = canonicalize_name(dist.metadata["Name"])
        found[name] = dist
        new = [extra for extra in wanted if (name, extra) not in asked]
        asked |= {(name, extra) for extra in new}
        for line in dist.requires or [] if new else []:
            need = Requirement(line)
            if any(need.marker is None or need.marker.evaluate({"extra": extra}) for extra in new):
                own = found.get(canonicalize_name(need.name))
                waiting.append((own or distribution(need.name), ("", *need.extras)))
    return found


def link(site: Path, dists: dict[str, Distribution]) -> Path:
    """Link the files of distributions into a folder, and return it."""
    for dist in dists.values():
        for part in {file.parts[0] for file in dist.files or [] if file.parts[0] != ".."}:
            place = site / part
            if not place.exists():
                place.symlink_to(dist.locate_file(part))
    return site


def wheel_as_installed(installed: Path) -> Distribution:
    """Return this package as it was installed into a folder."""
    (own,) = installed.glob("edgeglass_diag-*.dist-info")
    return PathDistribution(own)


def linked_python(folder: Path, installed: Path, *extras: str, without: Collection[str] = ()) -> Path:
    """Make a virtual environment with this package and its extras, and return its interpreter.

    Args:
        folder: of the environment.
        installed: folder with this package.
        extras: that are installed too.
        without: distributions that are left out.
    """
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    dists = required(wheel_as_installed(installed), *extras)
    link(site, {name: dist for name, dist in dists.items() if name not in without})
    return folder / "bin" / "python"
