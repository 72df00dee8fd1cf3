"""Forensics on logged numbers alone: which of them cannot be true together, and what they imply."""

from edgeglass_diag.audit.audit import Audited, audit, audit_files

__all__ = ["Audited", "audit", "audit_files"]
