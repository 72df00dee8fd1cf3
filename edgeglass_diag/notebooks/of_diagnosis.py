"""A diagnosis as a document: the verdict, the finding to look at first, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeglass_diag.notebooks.document import Block, Code, Document, Folded, Headline, Nested, Text
from edgeglass_diag.notebooks.of_findings import finding_document
from edgeglass_diag.verdict import share_recorded

if TYPE_CHECKING:
    from edgeglass_diag.diagnosis.diagnose import Diagnosis


def diagnosis_document(found: Diagnosis) -> Document:
    """Return a diagnosis; the text that ``diagnose`` prints is folded below it."""
    verdict = found.verdict
    recorded = share_recorded(found.recorded, found.taken)
    blocks: list[Block] = [
        Headline(verdict.tone.upper(), verdict.tone, verdict.text),
        Text(f"{found.folder}: {found.status}, {found.taken} steps, said of what was found{recorded}", quiet=True),
    ]
    if found.problem:
        blocks.append(Text(found.problem))
    if found.explanation is not None:
        blocks.append(Text(found.explanation.verdict, label="proved by replays"))
    if found.headline is not None:
        follows = ", ".join(found.follows_from(found.headline))
        brings: list[Block] = [Text(follows, label="brings")] if follows else []
        blocks += [*finding_document(found.headline), Nested(brings)] if brings else finding_document(found.headline)
    blocks += [Text(found.next.why, label="next"), Code(found.next.command)]
    return [*blocks, Folded("all of it", [Text(line) for line in found.as_text().splitlines() if line])]
