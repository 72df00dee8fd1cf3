"""Audit files of logged numbers, and the report of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.auditing.audit import Audited, audit_files
from edgeglass_diag.plain_values import finding_summary, plain
from edgeglass_diag.records import Finding
from edgeglass_diag.shown import Shown

if TYPE_CHECKING:
    from edgeglass_diag.notebooks.document import Document


@dataclass(frozen=True)
class AuditReport(Shown):
    """What the histories in some files say; one history is one training in the logs."""

    histories: tuple[Audited, ...]

    @property
    def conclusions(self) -> tuple[Finding, ...]:
        """Return the conclusions of all histories."""
        return tuple(finding for one in self.histories for finding in one.conclusions)

    @property
    def inferred(self) -> dict[str, object]:
        """Return the inferred values, e.g. ``batch_size``, on which all histories that have them agree."""
        agreed: dict[str, object] = {}
        for key in dict.fromkeys(key for one in self.histories for key in one.inferred):
            values = [one.inferred[key] for one in self.histories if key in one.inferred]
            if all(value == values[0] for value in values):
                agreed[key] = values[0]
        return agreed

    def as_dict(self) -> dict[str, object]:
        """Return what ``audit --json`` prints.

        ``histories`` has for each history the inferred values, the columns that were understood, those that were not
        with the reason, and the notes of the readers.
        """
        histories = {
            one.name: {
                "file": one.file, "inferred": dict(one.inferred), "columns": dict(one.columns),
                "open_columns": dict(one.open_columns), "notes": list(one.notes),
            }
            for one in self.histories
        }  # fmt: skip
        conclusions = [finding_summary(finding) for finding in self.conclusions]
        values: dict[str, object] = plain(
            {"conclusions": conclusions, "inferred": self.inferred, "histories": histories}
        )
        return values

    def _document(self) -> Document:
        from edgeglass_diag.notebooks.of_audit import audit_document

        return audit_document(self)


def audit(
    paths: str | Path | Sequence[str | Path],
    *,
    columns: Sequence[str] = (),
    batch_size: int | None = None,
    against: str | Path | None = None,
) -> AuditReport:
    """Judge logged numbers alone: which cannot be true together, and what they imply.

    Args:
        paths: one or more files or folders: CSV, JSON, JSONL, ``trainer_state.json``, text logs, TensorBoard event
            files, W&B offline logs, MLflow and trackio stores, run folders.
        columns: ``ROLE=NAME`` for columns whose names are not understood; ``ignore=NAME`` leaves one out.
        batch_size: of the losses, where the logs have none or another.
        against: log of a healthy training to compare with.

    Raises:
        UsageError: if a file cannot be read, no column is understood, or a named column is in no file.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
        >>> rows = [f"{step},4.85203,0.0003351206,0.001675603,0.003351206" for step in (1, 2)]
        >>> _ = file.write_text("\\n".join(["step,val_loss,i2t_r1,i2t_r5,i2t_r10", *rows]))
        >>> report = audit(file)
        >>> [finding.code for finding in report.conclusions], report.inferred["batch_size"], report.inferred["n"]
        (['EG301', 'EG401', 'EG601'], 128, 2984)
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    healthy = None if against is None else Path(against)
    audited = audit_files([Path(file) for file in files], columns=columns, batch_size=batch_size, healthy=healthy)
    return AuditReport(tuple(audited))
