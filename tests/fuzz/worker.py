"""A process that gives inputs to one reader, with a limit of memory and of time for each."""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import resource
import shutil
import sys
from pathlib import Path
from random import Random

import torch

from tests.fuzz.outcomes import BROKEN, make_input, outcome, write
from tests.fuzz.readers import READERS

SECONDS = 20.0
MEMORY = 4 << 30
"""Bytes of address space beyond what the imported packages take."""
KEPT = 3
"""Inputs that are saved of each way to break the promise."""


def input_of(name: str, seed: int, number: int):
    """Return one input again, from the seed that was printed and its number."""
    reader = next(reader for reader in READERS if reader.name == name)
    return reader, make_input(reader, Random(f"{seed}/{name}/{number}"))


def main(name: str, seed: int, first: int, last: int, out: Path) -> None:
    """Give the inputs first to last - 1 to a reader, and write a line of JSON for each."""
    for module in ("edgeglass_models.train", "edgeglass_diag.commands", "edgeglass_diag.evaluation.evaluate"):
        importlib.import_module(module)  # now, and not within the time of an input
    torch.set_num_threads(1)
    reader, _ = input_of(name, seed, first)
    reader.seeds()
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    kept: dict[str, int] = {}
    with (out / "stacks.txt").open("w") as stacks, os.fdopen(os.dup(1), "w") as results:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        for number in range(first, last):
            print(json.dumps({"begin": number}), file=results, flush=True)
            _, given = input_of(name, seed, number)
            faulthandler.dump_traceback_later(SECONDS, exit=True, file=stacks)
            found = outcome(reader, given)
            faulthandler.cancel_dump_traceback_later()
            if found.kind in BROKEN and kept.setdefault(found.place, 0) < KEPT:
                kept[found.place] += 1
                save(out / f"{number}", given, found.place)
            print(json.dumps({"end": number, "kind": found.kind, "place": found.place}), file=results, flush=True)


def save(folder: Path, given, words: str) -> None:
    """Keep an input that broke the promise."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write(folder, given)
    (folder / "ARGUMENTS.json").write_text(json.dumps([list(given.arguments), words]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
