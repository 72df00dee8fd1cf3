"""Logs of trainers: ``trainer_state.json`` of transformers, the folders of Lightning's CSVLogger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeglass_diag.auditing.logged import Logged
from edgeglass_diag.auditing.readers.tree import flat, number, table_of
from edgeglass_diag.records import UsageError
from edgeglass_diag.user_input.files import is_file, read_text
from edgeglass_diag.user_input.limits import SETTINGS_BYTES
from edgeglass_diag.user_input.yaml_text import parse_yaml

_STATE = "trainer_state.json"
_SETTINGS = ("max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps", "save_steps")


def is_trainer_state(value: object) -> bool:
    """Return whether a JSON document is the state of a transformers Trainer."""
    if not isinstance(value, Mapping) or not isinstance(value.get("log_history"), list):
        return False
    return "global_step" in value and all(isinstance(row, Mapping) for row in value["log_history"])


def trainer_log(value: Mapping[str, Any], path: Path) -> Logged:
    """The logged rows of a Trainer, training and evaluation as it wrote them, and what it knew of its own length.

    Raises:
        UsageError: for a state without any row.
    """
    table = table_of("", [flat(row) for row in value["log_history"]])
    if not table.columns:
        raise UsageError(f"{path}: expected logged rows in log_history, got none")
    settings = {name: value[name] for name in _SETTINGS if number(value.get(name)) is not None}
    name = path.parent.name if path.name == _STATE else path.stem
    return Logged(name or path.stem, str(path), (table,), settings)


def newest_state(folder: Path) -> Path | None:
    """Return the state of a Trainer in its output folder, or in the newest checkpoint of it."""
    if is_file(folder / _STATE):
        return folder / _STATE
    found = {
        int(step[1]): path
        for path in folder.glob(f"checkpoint-*/{_STATE}")
        if (step := re.fullmatch(r"checkpoint-(\d{1,12})", path.parent.name))
    }
    return found[max(found)] if found else None


def with_hyperparameters(logged: Logged, folder: Path) -> Logged:
    """Return a log of Lightning with the settings of ``hparams.yaml``; those that are no plain YAML are noted."""
    file = folder / "hparams.yaml"
    logged = replace(logged, name=folder.name)
    if not is_file(file):
        return logged
    try:
        value, _ = parse_yaml(read_text(file, most=SETTINGS_BYTES), str(file))
    except UsageError as error:
        return replace(logged, notes=(*logged.notes, f"settings are left out: {error}"))
    return replace(logged, settings=flat(value)) if isinstance(value, dict) else logged
