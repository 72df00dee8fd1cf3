"""Runs replays, several at once, each in processes of its own, each once. No torch."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgeglass_diag.replaying.mirror import SUFFIX
from edgeglass_diag.replaying.plan import Plan
from edgeglass_diag.replaying.replayed import Replayed, read_replayed, remembered

Progress = Callable[[int, int, float], None]
"""Called with the number of finished replays, the number of known ones, and the mean seconds between two of them."""

_PAUSE = 0.05
"""Seconds between two looks at the running ones."""


def key_of(plan: Plan) -> str:
    """Return what tells a replay from others: its plan but for words and scratch folders."""
    content = {**asdict(plan), "out": "", "scratch": "", "title": ""}
    if plan.state:
        content |= {"folder": "", "sources": ""}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def name_of(plan: Plan) -> str:
    """Return the name of a replay's run folder."""
    words = "".join(c if c.isalnum() or c in "=.+-" else "-" for c in plan.label)[:80]
    return f"{words}-seed{plan.seed}-{key_of(plan)[:6]}"


@dataclass
class _Running:
    """A replay that runs; ``guardian`` ends it when its stdin is closed."""

    plan: Plan
    place: Path
    guardian: subprocess.Popen[bytes]
    begun: float

    def end(self) -> None:
        """End it and all that it started."""
        assert self.guardian.stdin is not None
        self.guardian.stdin.close()
        self.guardian.wait()


class Replays:
    """Runs replays, each once; a finished one that is found in ``out`` is read instead.

    Ctrl-C, an error and the death of this process end all that run.

    Args:
        out: folder of the runs ``NAME`` and of what belongs to each, ``NAME.replay``.
        workers: how many run at once.
        timeout: seconds after which one is ended, None without a limit.
        deadline: ``time.monotonic()`` after which none begins; None without a limit.
        progress: called after each.
    """

    def __init__(
        self,
        out: Path,
        *,
        workers: int = 1,
        timeout: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._out, self._workers, self._timeout = out.resolve(), workers, timeout
        self._deadline, self._progress = deadline, progress
        self.done: dict[str, Replayed] = {}
        self._seconds: list[float] = []

    @property
    def is_budget_spent(self) -> bool:
        """Whether the budget is spent."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def run(self, plans: Iterable[Plan]) -> dict[str, Replayed]:
        """Return the results of the replays that ended within the budget, by ``key_of``.

        The folders of the plans are chosen here.
        """
        wanted = {key_of(plan): plan for plan in plans}
        self.done |= {key: known for key, plan in wanted.items() if (known := self._known(key, plan)) is not None}
        waiting = [plan for key, plan in wanted.items() if key not in self.done]
        running: list[_Running] = []
        try:
            while running or (waiting and not self.is_budget_spent):
                while waiting and len(running) < self._workers and not self.is_budget_spent:
                    running.append(self._begin(waiting.pop(0)))
                ended = [each for each in running if self._has_ended(each)]
                for each in ended:
                    running.remove(each)
                    self._take(each)
                    self._tell(wanted)
                if not ended:
                    time.sleep(_PAUSE)
        finally:
            for each in running:
                each.end()
        return {key: self.done[key] for key in wanted if key in self.done}

    def _known(self, key: str, plan: Plan) -> Replayed | None:
        return remembered(self._out / f"{name_of(plan)}{SUFFIX}" / "result.json", key)

    def _begin(self, plan: Plan) -> _Running:
        name = name_of(plan)
        run, place = self._out / name, self._out / f"{name}{SUFFIX}"
        for old in (run, place):
            shutil.rmtree(old, ignore_errors=True)  # of one that was interrupted
        scratch = place / "scratch"
        scratch.mkdir(parents=True)
        plan = replace(plan, out=str(run), scratch=str(scratch))
        (place / "plan.json").write_text(plan.as_text())
        line = [sys.executable, "-m", "edgeglass_diag.replaying.guardian", str(place / "plan.json")]
        with (place / "output.log").open("wb") as log:
            guardian = subprocess.Popen(
                line, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=scratch, start_new_session=True
            )
        return _Running(plan, place, guardian, time.monotonic())

    def _has_ended(self, each: _Running) -> bool:
        return each.guardian.poll() is not None or self._is_late(each)

    def _is_late(self, each: _Running) -> bool:
        return self._timeout is not None and time.monotonic() - each.begun > self._timeout

    def _take(self, each: _Running) -> None:
        status = each.guardian.poll()
        each.end()
        seconds = time.monotonic() - each.begun
        key = key_of(each.plan)
        log = each.place / "output.log"
        result = read_replayed(key, each.plan, log, status=status, seconds=seconds)
        (each.place / "result.json").write_text(result.as_text())
        shutil.rmtree(each.place / "scratch", ignore_errors=True)
        self.done[key] = result
        self._seconds.append(seconds)

    def _tell(self, wanted: Iterable[str]) -> None:
        if self._progress is not None:
            left = sum(key not in self.done for key in wanted)
            mean = sum(self._seconds) / len(self._seconds) / self._workers
            self._progress(len(self.done), len(self.done) + left, mean)
