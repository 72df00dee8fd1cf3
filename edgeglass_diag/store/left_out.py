"""What thinning has left out of a store: read from the stretches that it has marked."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from edgeglass_diag.signals import recorded
from edgeglass_diag.store.database import Database
from edgeglass_diag.store.gather import is_first_version
from edgeglass_diag.store.thinner import THINNED
from edgeglass_diag.thinning import ThinnedSignal


def thinned_signals(db: Database) -> list[ThinnedSignal]:
    """Return the signals of a store of which windows are left out, by path; to be read inside of one snapshot."""
    if is_first_version(db):
        return []
    marks = db.select("summaries", "WHERE kind = ? ORDER BY stretch", (THINNED,))
    left_out = {int(stretch): int.from_bytes(data, "little") for stretch, _, data in marks}
    if not left_out:
        return []
    groups: defaultdict[int, dict[int, list[tuple[int, bytes]]]] = defaultdict(dict)
    for number, signal, _, layout, _, steps in db.select("stretches", "ORDER BY id"):
        groups[int(signal)].setdefault(int(layout), []).append((int(number), steps))
    found = []
    for number, name in db.select("signals", "ORDER BY name"):
        known, layouts = recorded(name), groups.get(int(number), {})
        thinned = [rows for rows in layouts.values() if any(id_ in left_out for id_, _ in rows)]
        if known is None or not thinned:
            continue
        [[waiting]] = db.rows("SELECT COUNT(*) FROM slices WHERE signal = ?", (number,))
        kept = int(waiting) + sum(len(steps) // 8 for rows in layouts.values() for _, steps in rows)
        gone = sum(left_out.get(id_, 0) for rows in thinned for id_, _ in rows)
        bounds = [_whole(rows, left_out) for rows in thinned]
        until, since = min(until for until, _ in bounds), max(since for _, since in bounds)
        found.append(ThinnedSignal(known, kept, kept + gone, until, since))
    return found


def _whole(rows: list[tuple[int, bytes]], left_out: dict[int, int]) -> tuple[int, int]:
    """Return the step up to which, and that from which on the stretches of a layout are whole."""
    marked = [place for place, (number, _) in enumerate(rows) if number in left_out]
    before, behind = rows[: marked[0]], rows[marked[-1] + 1 :]
    until = max((_bounds(steps)[1] for _, steps in before), default=_bounds(rows[0][1])[0])
    return until, min((_bounds(steps)[0] for _, steps in behind), default=_bounds(rows[-1][1])[1])


def _bounds(packed: bytes) -> tuple[int, int]:
    steps = np.frombuffer(packed, "<i8")
    return int(steps.min()), int(steps.max())
