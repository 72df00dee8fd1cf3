"""Readers of foreign logs: one function for each format, path -> list of ``Logged``."""

from __future__ import annotations

from pathlib import Path

from edgeglass_diag.auditing.logged import Logged
from edgeglass_diag.auditing.readers.tree import UnusableLogError
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, is_file, is_folder, nothing_at

_FORMATS = (
    "CSV or TSV, JSON, JSONL, a TensorBoard event file (*tfevents*), a W&B offline log (run-*.wandb), a run folder, "
    "or a folder of event files or of a W&B run"
)


def read(path: Path) -> list[Logged]:
    """The histories of a file or folder, by what its name and content are.

    Raises:
        UsageError: that names file, place, what was expected and what came.
    """
    if not exists(path):
        raise nothing_at(path, "file")
    try:
        return _folder(path) if is_folder(path) else _file(path)
    except UnusableLogError as error:
        raise UsageError(f"{path}: {error}") from None
    except OSError as error:  # of a folder that cannot be listed
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}; expected {_FORMATS}") from error


def _file(path: Path) -> list[Logged]:
    from edgeglass_diag.auditing.readers import text

    if "tfevents" in path.name:
        from edgeglass_diag.auditing.readers.events import read_events

        return [read_events([path], name=path.stem)]
    if path.suffix == ".wandb":
        from edgeglass_diag.auditing.readers.wandb_log import read_wandb

        return [read_wandb(path)]
    kinds = {
        ".csv": text.read_csv, ".tsv": text.read_csv, ".json": text.read_json, ".jsonl": text.read_jsonl,
        ".ndjson": text.read_jsonl,
    }  # fmt: skip
    if path.suffix.lower() not in kinds:
        raise UsageError(f"{path}: expected {_FORMATS}, got a file named {path.name!r}")
    return kinds[path.suffix.lower()](path)


def _folder(path: Path) -> list[Logged]:
    if is_file(path / "run.json"):
        from edgeglass_diag.auditing.readers.runs import read_run

        return [read_run(path)]
    events = sorted(path.glob("*tfevents*"))
    if events:
        from edgeglass_diag.auditing.readers.events import read_events

        return [read_events(events, name=path.name)]
    logs = sorted(path.glob("run-*.wandb"))
    if len(logs) == 1:
        return _file(logs[0])
    raise UsageError(f"{path}: expected {_FORMATS}; the folder has neither run.json, nor *tfevents*, nor run-*.wandb")
