"""Links into the documentation, where the installed distribution names one."""

from __future__ import annotations

from importlib.metadata import metadata


def documentation() -> str | None:
    """Return the address of the documentation: ``Documentation`` in ``[project.urls]``; None where none is given."""
    for entry in metadata("edgeglass-diag").get_all("Project-URL") or ():
        name, _, url = str(entry).partition(",")
        if name.strip().lower() == "documentation":
            return url.strip().rstrip("/")
    return None


def rule_url(code: str) -> str | None:
    """Return the address of a rule's page; None where no documentation is published."""
    base = documentation()
    return None if base is None else f"{base}/rules/{code}/"
