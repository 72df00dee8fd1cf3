"""MLflow: metrics by step, findings as tags, through its client, which leaves the program's active run alone."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from edgeglass_diag.records import Finding, Reading, RunStatus, UsageError
from edgeglass_diag.sinks.sink import PROJECT, About, Sink, scalars, text_of

_REFUSED = re.compile(r"[^/\w.\- ]")
_BATCH = 1000
_LONGEST = 250
_STATUS = {RunStatus.FINISHED: "FINISHED", RunStatus.STOPPED: "KILLED", RunStatus.FAILED: "FAILED"}


class Into(Sink):
    """Writes a run; where it goes is what ``MLFLOW_TRACKING_URI`` says, as for all that uses MLflow.

    Its databases hold an infinity as the largest float.

    Args:
        about: the run.
        out: folder of an SQLite database, made if there is none; None for MLflow's own place.

    Raises:
        UsageError: for MLflow's former store of plain files, which cannot hold ``a/b`` beside ``a/b/c``.
    """

    def __init__(self, about: About, out: Path | None) -> None:
        import mlflow
        from mlflow.tracking import MlflowClient

        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        place = mlflow.get_tracking_uri() if out is None else f"sqlite:///{out.absolute() / 'mlflow.db'}"
        if place.startswith("file:") or ("://" not in place and place != "databricks"):
            raise UsageError(f"mlflow: expected a database or a server in MLFLOW_TRACKING_URI, got files in {place}")
        self.place = place
        self._client = MlflowClient(tracking_uri=place)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        artifacts = None if out is None else (out.absolute() / "artifacts").as_uri()
        experiment = known.experiment_id if known else self._client.create_experiment(name, artifacts)
        tags = {"edgeglass_diag": str(about.folder)}
        self._run = self._client.create_run(experiment, run_name=about.name, tags=tags).info.run_id

    def readings(self, step: int, readings: Iterable[Reading]) -> None:
        """Log all numbers of a window, a thousand at a time."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key(name), value, now, step) for name, value in scalars(readings)]
        for first in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._run, metrics=metrics[first : first + _BATCH])

    def finding(self, finding: Finding) -> None:
        """Set the tag ``finding/CODE`` or ``finding/CODE at SITE``."""
        name = f"finding/{finding.code}" + (f" at {finding.site}" if finding.site else "")
        text = f"{finding.severity} at step {finding.step}: {text_of(finding)}"
        self._client.set_tag(self._run, key(name), text)

    def close(self, status: RunStatus) -> None:
        """Note how the run ended."""
        self._client.set_terminated(self._run, _STATUS.get(status, "FINISHED"))


def key(name: str) -> str:
    """Return a name that MLflow takes: other characters as ``:`` and their number in hexadecimal, ``#`` as ``:23``.

    One above 250 characters is cut, and told from others by its digest.

    >>> key("attention/entropy/block.attn#1/head0")
    'attention/entropy/block.attn:23:1/head0'
    """
    text = _REFUSED.sub(lambda found: f":{ord(found[0]):x}:", name)
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{text[: _LONGEST - len(digest) - 1]}:{digest}"
