"""The file of init certificates that a repository keeps: one JSON object, one entry per guarded model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeglass_diag.records import UsageError

_FORMAT = "edgeglass-diag init certificates"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Certificates in ``file``; ``update`` writes them anew instead of comparing."""

    file: Path
    update: bool = False

    def read(self, key: str) -> dict[str, Any]:
        """Return the certificate of a model.

        Raises:
            UsageError: where there is none, or the file is no such file.
        """
        known = self._load()
        if key not in known:
            raise UsageError(f"{self.file} has no certificate of {key!r}; make it with --eg-update")
        certificate: dict[str, Any] = known[key]
        return certificate

    def write(self, key: str, certificate: dict[str, Any]) -> None:
        """Keep a certificate; the others stay, and the file is whole at any moment."""
        known = self._load() if self.file.is_file() else {}
        content = {"format": _FORMAT, "version": 1, "certificates": dict(sorted({**known, key: certificate}.items()))}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_name(self.file.name + ".tmp")
        temporary.write_text(json.dumps(_rounded(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(self.file)

    def _load(self) -> dict[str, Any]:
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"{self.file} does not exist; make it with --eg-update") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.file} cannot be read as init certificates: {error}") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != 1:
            raise UsageError(f"{self.file}: expected {_FORMAT!r}, version 1")
        return dict(content["certificates"])


def _rounded(value: Any) -> Any:
    """Six digits: enough, and a diff that people can read."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
