"""The file of init certificates in a repository: one JSON object with one entry per guarded model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeglass_diag.records import UsageError

_FORMAT = "edgeglass-diag init certificates"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Certificates in ``file``; with ``update`` they are written again instead of compared."""

    file: Path
    update: bool = False

    def read(self, key: str) -> dict[str, Any]:
        """Return the certificate of a model.

        Args:
            key: id of the test, with the name of the certificate if it has one.

        Raises:
            UsageError: if the file is missing, is not a file of certificates, or has none of this model.
        """
        known = self._load()
        if key not in known:
            raise UsageError(f"no init certificate of {key!r} in {self.file}; write it with --eg-update")
        certificate: dict[str, Any] = known[key]
        return certificate

    def write(self, key: str, certificate: dict[str, Any]) -> None:
        """Write the certificate of a model and keep those of others; the file is replaced as a whole."""
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
            raise UsageError(f"no such file of init certificates: {self.file}; write it with --eg-update") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"unreadable init certificates in {self.file}: {error}") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != 1:
            raise UsageError(f"not init certificates: expected {_FORMAT!r}, version 1, in {self.file}")
        return dict(content["certificates"])


def _rounded(value: Any) -> Any:
    """Return the value with floats rounded to six digits, so that the file's diff is readable."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
