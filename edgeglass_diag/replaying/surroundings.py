"""The environment of a replay: caches in its mirror, temporary files of its own, trackers offline. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeglass_diag.replaying.mirror import Mirror
from edgeglass_diag.replaying.plan import Plan

_CACHES = (
    "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE",
    "TRANSFORMERS_CACHE", "TORCH_HOME", "TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR",
    "TRITON_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "KERAS_HOME", "TFDS_DATA_DIR",
)  # fmt: skip
"""Variables that name folders which libraries read and write: their mirrors take their places."""

_OFFLINE = {
    "WANDB_MODE": "offline",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "NEPTUNE_MODE": "offline",
    "CLEARML_OFFLINE_MODE": "1",
}
_IN_SCRATCH = {
    "WANDB_DIR": "wandb",
    "WANDB_CACHE_DIR": "wandb-cache",
    "WANDB_DATA_DIR": "wandb-data",
    "TRACKIO_DIR": "trackio",
    "COMET_OFFLINE_DIRECTORY": "comet",
}
_QUIET = {"PYTHONDONTWRITEBYTECODE": "1", "GIT_OPTIONAL_LOCKS": "0", "PYTHONUNBUFFERED": "1"}


def environment_of(plan: Plan, mirror: Mirror, temporary: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a replay.

    Strings hash by a fixed number unless the program's own environment says how, so that sets are walked in the same
    order each time.

    Args:
        plan: of the replay.
        mirror: of the file tree; the folders that variables name are opened in it.
        temporary: folder of temporary files; short, as it holds sockets, whose paths may have 107 bytes.
        given: the environment as it is.
    """
    scratch = Path(plan.scratch).resolve()
    changed = {**{"PYTHONHASHSEED": "0"}, **given}
    for name, value in plan.environment.items():
        if value is None:
            changed.pop(name, None)
        else:
            changed[name] = value
    disabled = changed.get("WANDB_MODE") == "disabled"
    for name in _CACHES:
        if os.path.isdir(folder := changed.get(name, "")) and os.path.isabs(folder):
            changed[name] = mirror.open(folder)
    if "PYTHONPATH" in changed:
        changed["PYTHONPATH"] = os.pathsep.join(
            in_mirror(each, plan.folder, mirror) for each in changed["PYTHONPATH"].split(os.pathsep) if each
        )
    changed |= _OFFLINE | _QUIET | {name: str(scratch / folder) for name, folder in _IN_SCRATCH.items()}
    changed |= {"TMPDIR": temporary, "MLFLOW_TRACKING_URI": (scratch / "mlruns").as_uri()}
    return changed | ({"WANDB_MODE": "disabled"} if disabled else {})


def in_mirror(path: str, folder: str, mirror: Mirror) -> str:
    """Return the place of a path in the mirror if it is relative to the working directory or in it, else the path."""
    place = os.path.normpath(os.path.join(folder, path))
    inside = not os.path.isabs(path) or place == folder or place.startswith(folder + os.sep)
    return mirror.at(place) if inside else path
