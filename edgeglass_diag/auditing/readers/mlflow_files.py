"""MLflow's local files: ``mlruns/EXPERIMENT/RUN`` with a file of lines ``time value step`` for each metric."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeglass_diag.auditing.logged import Logged
from edgeglass_diag.auditing.readers.points import Point, number_of, setting_of, table_of_points
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import is_file, is_folder, read_text
from edgeglass_diag.user_input.limits import FILES, MIB, SETTINGS_BYTES, TABLE_BYTES
from edgeglass_diag.user_input.yaml_text import parse_yaml

_LARGEST_STEP = 2**53


def runs_below(folder: Path) -> list[Path]:
    """Return the run folders: the folder itself, its folders, or those of its experiments."""
    if _is_run(folder):
        return [folder]
    levels = (sorted(path for path in folder.glob(level) if _is_run(path)) for level in ("*", "*/*"))
    return next((runs for runs in levels if runs), [])


def _is_run(path: Path) -> bool:
    return is_folder(path / "metrics") and is_file(path / "meta.yaml")


def read_mlflow_run(folder: Path) -> Logged:
    """The metrics of a run as rows by step, and its parameters as settings.

    Raises:
        UsageError: for a line of another form, or too many files.
    """
    points = sorted(_points(folder / "metrics"), key=lambda point: point.time)
    settings = {name: setting_of(read_text(path, most=MIB).strip()) for name, path in _files(folder / "params")}
    return Logged(_name(folder), str(folder), (table_of_points(points),), settings)


def _name(folder: Path) -> str:
    value, _ = parse_yaml(read_text(folder / "meta.yaml", most=SETTINGS_BYTES), str(folder / "meta.yaml"))
    name = value.get("run_name") if isinstance(value, dict) else None
    return name if isinstance(name, str) and name else folder.name


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Return the files below a folder by their places in it: a metric's name may have slashes."""
    found: list[tuple[str, Path]] = []
    for path in sorted(folder.rglob("*")):
        if is_file(path):
            found.append((path.relative_to(folder).as_posix(), path))
        if len(found) > FILES:
            raise UsageError(f"{folder}: expected at most {FILES} files, got more")
    return found


def _points(folder: Path) -> Iterator[Point]:
    for key, path in _files(folder):
        for number, line in enumerate(read_text(path, most=TABLE_BYTES).splitlines(), 1):
            words = line.split()
            if not words:
                continue
            try:
                time, value, *rest = map(number_of, words)
                step = int(rest[0]) if rest and abs(rest[0]) <= _LARGEST_STEP else 0
            except (ValueError, OverflowError):
                raise UsageError(f"{path}:{number}: expected time, value and step, got {line[:80]!r}") from None
            yield Point(key, step, value, time / 1000)
