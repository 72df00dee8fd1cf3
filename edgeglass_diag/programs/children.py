"""The processes that a watched program starts: what they are told, and where each of them records.

A child is told through its environment: one variable holds the options, and the first folder on PYTHONPATH holds a
``sitecustomize`` that Python imports at start. Once the child has imported torch it is watched; its run folder is
made when its first optimizer step ends, so that launchers, loaders and tools leave nothing behind.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeglass_diag.folders import is_run, read_header
from edgeglass_diag.process import environment
from edgeglass_diag.profiling.options import ProfileOptions
from edgeglass_diag.programs import bootstrap
from edgeglass_diag.programs.bootstrap.sitecustomize import VARIABLE
from edgeglass_diag.rules import Rule, all_rules
from edgeglass_diag.store import RunWriter


@dataclass(frozen=True)
class Options:
    """What holds for all processes of a run. ``rules`` are thresholds by code; ``announce``: findings on stderr."""

    out: str
    every: int
    rules: Mapping[str, Mapping[str, float]]
    stop_on: tuple[str, ...] = ()
    announce: bool = True
    profile: ProfileOptions | None = None

    def chosen_rules(self) -> list[Rule]:
        """The rules that run."""
        return [rule(**self.rules[rule.code]) for rule in all_rules() if rule.code in self.rules]

    def as_text(self) -> str:
        """For the environment variable."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Options:
        """Read what ``as_text`` wrote."""
        content = json.loads(text)
        asked = content["profile"]
        profile = None if asked is None else ProfileOptions(**asked)
        return cls(**{**content, "stop_on": tuple(content["stop_on"]), "profile": profile})


def thresholds(rules: Sequence[Rule]) -> dict[str, dict[str, float]]:
    """Rules as values that fit into an environment variable."""
    return {rule.code: rule.thresholds for rule in rules}


def invite(options: Options) -> None:
    """Set the environment so that the processes started from now on join the run."""
    place = str(Path(bootstrap.__file__).parent)
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != place]
    os.environ["PYTHONPATH"] = os.pathsep.join([place, *others])
    os.environ[VARIABLE] = options.as_text()


def join(text: str) -> None:
    """Watch this process, a child whose torch has just been imported, according to the text of the invitation."""
    from edgeglass_diag.programs.attaching import Attachment

    Attachment.of_child(Options.parse(text))


def known_rank() -> int | None:
    """The rank of this process: of torch.distributed where it is initialised, else of the environment, else None."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    text = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or ""
    return int(text) if text.isdecimal() else None


def open_rank_store(options: Options, rank: int | None) -> RunWriter:
    """The store of a child inside of the run's folder.

    Its folder is ``rank-N``; where another process has that rank already (a second launch, or a RANK in the
    environment that was not meant for it), or there is none, the process id stands for it.
    """
    out, number = Path(options.out), os.getpid() if rank is None else rank
    if (is_run(out) and read_header(out).get("rank") == number) or not _claim(out / f"rank-{number}"):
        number = os.getpid()
    header = {"every": options.every, "environment": environment(), "command": sys.argv, "rank": number}
    return RunWriter(out / f"rank-{number}", name=f"{out.name}/rank-{number}", header=header)


def _claim(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True
