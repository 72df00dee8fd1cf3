"""Baselines of findings."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from tests.fuzz.inputs import Input, Reader
from tests.fuzz.recipes import odd_value, said

_ENTRY = {"code": "EG301", "site": "image", "severity": "critical", "fingerprint": "0" * 32}
_WHOLE = {"format": "edgeglass-diag findings baseline", "version": 1, "command": "", "findings": [_ENTRY, _ENTRY]}


def _input(content: object) -> Input:
    return Input({"known.json": json.dumps(content, default=str).encode()})


def _generate(random: Random) -> Input:
    """Return a baseline with a value of another kind at some key."""
    key = random.choice([*_WHOLE, *_ENTRY, "other"])
    if key in _WHOLE:
        return _input({**_WHOLE, key: odd_value(random)})
    return _input({**_WHOLE, "findings": [{**_ENTRY, key: odd_value(random)}]})


def _read(folder: Path, given: Input) -> None:
    """Read the baseline.

    Raises:
        RefusedError: for what is none.
    """
    from edgeglass_diag.gate.known import read_baseline

    try:
        read_baseline(folder / "known.json")
    except ValueError as error:
        said(error)


BASELINES = (Reader("baseline", lambda: [_input(_WHOLE)], _generate, _read, share=0.3),)
