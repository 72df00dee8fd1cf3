"""Readers of foreign logs: one function for each format, path -> list of ``Logged``."""

from __future__ import annotations

from pathlib import Path

from edgeglass_diag.auditing.logged import Logged
from edgeglass_diag.auditing.readers.tree import UnusableLogError
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import exists, is_file, is_folder, nothing_at

_FORMATS = (
    "CSV or TSV, JSON, JSONL, a text log (.log, .txt, .out), a TensorBoard event file (*tfevents*), a W&B log "
    "(run-*.wandb), a database of MLflow or trackio (.db), a run folder, or a folder of one of these or of MLflow"
)
_TEXT = (".log", ".txt", ".out", ".err", ".stdout", ".stderr")
_DATABASES = (".db", ".sqlite", ".sqlite3")


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
    suffix = path.suffix.lower()
    if suffix in _TEXT:
        from edgeglass_diag.auditing.readers.plain_text import read_plain_text

        return read_plain_text(path)
    if suffix in _DATABASES:
        from edgeglass_diag.auditing.readers.sqlite_log import read_sqlite

        return read_sqlite(path)
    kinds = {
        ".csv": text.read_csv, ".tsv": text.read_csv, ".json": text.read_json, ".jsonl": text.read_jsonl,
        ".ndjson": text.read_jsonl,
    }  # fmt: skip
    if suffix not in kinds:
        raise UsageError(f"{path}: expected {_FORMATS}, got a file named {path.name!r}")
    return kinds[suffix](path)


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
    return _trackers_folder(path)


def _trackers_folder(path: Path) -> list[Logged]:
    """The logs of a trainer's or tracker's own folder."""
    from edgeglass_diag.auditing.readers import mlflow_files, trainers

    state = trainers.newest_state(path)
    if state is not None:
        return _file(state)
    if is_file(path / "metrics.csv"):
        return [trainers.with_hyperparameters(log, path) for log in _file(path / "metrics.csv")]
    runs = mlflow_files.runs_below(path)
    if runs:
        return [mlflow_files.read_mlflow_run(run) for run in runs]
    for name in ("mlflow.db", "out.log"):
        if is_file(path / name):
            return _file(path / name)
    raise UsageError(
        f"{path}: expected {_FORMATS}; the folder has neither run.json, nor *tfevents*, run-*.wandb, "
        "trainer_state.json, metrics.csv, metrics of MLflow, mlflow.db or out.log"
    )
