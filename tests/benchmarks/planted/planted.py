"""Run a program as it is, with keywords of what it calls set to other values.

    python planted.py train.py --torch.optim.AdamW.lr 3

An option with dots names a keyword argument of a function or class; others are the program's own.
"""

from __future__ import annotations

import functools
import importlib
import json
import runpy
import sys
from collections import defaultdict
from typing import Any

from edgeglass_models.torchvision_operators import define_missing_operators


def find(path: str) -> tuple[Any, str]:
    """Return the module or class that has what a dotted path names, and its name in there."""
    owner, _, name = path.rpartition(".")
    try:
        return importlib.import_module(owner), name
    except ModuleNotFoundError:
        outer, inner = find(owner)
        return getattr(outer, inner), name


def plant(path: str, keywords: dict[str, Any]) -> None:
    """Make a function, or the constructor of a class, take other values than it is given."""
    owner, name = find(path)
    if isinstance(getattr(owner, name), type):
        owner, name = getattr(owner, name), "__init__"
    plain = getattr(owner, name)

    @functools.wraps(plain)
    def planted(*arguments: Any, **given: Any) -> Any:
        return plain(*arguments, **{**given, **keywords})

    setattr(owner, name, planted)


def main() -> None:
    program, *words = sys.argv[1:]
    own, changed = [], defaultdict(dict)
    for option, value in zip(words[::2], words[1::2], strict=True):
        path, _, keyword = option.removeprefix("--").rpartition(".")
        if path:
            changed[path][keyword] = json.loads(value)
        else:
            own += [option, value]
    for path, keywords in changed.items():
        plant(path, keywords)
    sys.argv = [program, *own]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    define_missing_operators()
    main()
