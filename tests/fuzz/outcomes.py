"""One input through one reader: what came of it, and where in our code it went wrong."""

from __future__ import annotations

import math
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.command_line import BrokenPromiseError, RefusedError
from tests.fuzz.inputs import Input, Reader
from tests.fuzz.mutations import mutated

RESULT, REFUSED, TRACEBACK, LINES, WRONG, HANG, ENDED = (
    "result",
    "refused",
    "traceback",
    "not one line",
    "wrong number",
    "hang",
    "process ended",
)
KINDS = (RESULT, REFUSED, TRACEBACK, LINES, WRONG, HANG, ENDED)
BROKEN = KINDS[2:]


@dataclass(frozen=True)
class Outcome:
    """What came of an input; ``place`` groups those that broke the promise in the same way."""

    kind: str
    place: str = ""


def make_input(reader: Reader, random: Random) -> Input:
    """Return an input of the reader's own structure, or a valid one with changed bytes, of which no number is known."""
    seeds = reader.seeds()
    if not seeds or random.random() < 0.5:
        return reader.generate(random)
    chosen = random.choice(seeds)
    others = [data for seed in seeds for data in seed.files.values()]
    name = random.choice(list(chosen.files))
    return Input({**chosen.files, name: mutated(random, chosen.files[name], others)}, chosen.arguments)


def write(folder: Path, given: Input) -> None:
    """Write the files of an input."""
    for name, data in given.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def outcome(reader: Reader, given: Input) -> Outcome:
    """Give the input to the reader in a folder of its own; any exception but a refusal breaks the promise."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        folder = Path(name)
        warnings.simplefilter("error")  # a warning of another package is more than one line on stderr
        warnings.simplefilter("default", UserWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        write(folder, given)
        try:
            reader.use(folder, given)
            if given.expected is not None and reader.numbers is not None:
                found = reader.numbers(folder)
                if not same(found, given.expected):
                    return Outcome(WRONG, f"{_short(found)} for {_short(given.expected)}")
        except RefusedError as error:
            return (
                Outcome(REFUSED)
                if given.expected is None
                else Outcome(WRONG, f"a valid file is refused: {_short(error)}")
            )
        except BrokenPromiseError as error:
            return Outcome(LINES, _short(error))
        except BaseException as error:
            return Outcome(TRACEBACK, place(error))
    return Outcome(RESULT)


def place(error: BaseException) -> str:
    """Return the type of an error, and the innermost line of ours that it came through."""
    ours = ("edgeglass_diag/", "edgeglass_models/", "edgeglass_dashboards/")
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if any(part in frame.filename for part in ours)
    ]
    last = (
        f"{Path(frames[-1].filename).parent.name}/{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        if frames
        else "?"
    )
    return f"{type(error).__name__} at {last}"


def same(one: object, other: object) -> bool:
    """Return whether all numbers are equal; NaN equals NaN."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        return len(one) == len(other) and all(map(same, one, other))
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return both_nan or one == other


def _short(value: object) -> str:
    return " ".join(str(value).split())[:160]
