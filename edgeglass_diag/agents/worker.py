"""A process of the server that runs code of the user: it is asked for one thing on stdin, and answers on stdout.

Each call has a process of its own, so that changed code is imported anew and the server never imports torch. The
process ends, with all that it started, when its stdin is closed: when the server is done with it, or is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from edgeglass_diag.bounded import bounded
from edgeglass_diag.explained.record import EXPLANATION
from edgeglass_diag.process import error_text
from edgeglass_diag.records import UsageError
from edgeglass_diag.replaying.death import adopt_orphans, kill_descendants

Told = Callable[[Mapping[str, Any]], None]
"""Sends a message to the server: ``progress``, and one ``result`` or ``error`` at the end."""


def main() -> None:
    """Answer the question in the first line of stdin."""
    adopt_orphans()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the user's code prints is no answer
    asked = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_server, daemon=True).start()

    def tell(message: Mapping[str, Any]) -> None:
        _write(answers, message)

    try:
        tell({"result": CALLS[asked["call"]](tell, **asked["arguments"])})
    except UsageError as error:
        tell({"error": str(error)})
    except (Exception, SystemExit) as error:  # of the user's code
        tell({"error": error_text(error)})


def _write(stream: TextIO, message: Mapping[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def _end_with_server() -> None:
    """End this process and all that it started once stdin is closed."""
    sys.stdin.buffer.read()
    kill_descendants()
    os._exit(1)


def check(_: Told, target: str, settings: list[str], probes: bool) -> Any:
    """Return what ``edgeglass-diag check --json`` prints, cut to the size of an answer."""
    from edgeglass_diag.initcheck.summary import check_summary
    from edgeglass_diag.preflight import check as check_target

    summary = check_summary(check_target(target, settings=settings, probes=probes))
    first = ("target", "verdict", "findings")  # what is cut comes last
    return bounded({**{name: summary[name] for name in first}, **summary})


def evaluate(_: Told, path: str, split: str | None, dims: list[int], curve: bool) -> Any:
    """Return what ``edgeglass-diag eval --json`` prints, cut to the size of an answer."""
    from edgeglass_diag.evaluation.evaluate import evaluate as evaluate_path

    return bounded(evaluate_path(path, split=split, dims=dims, with_curve=curve).as_dict())


def explain(tell: Told, run: str, out: str, **asked: Any) -> str:
    """Explain a run by replays; return the folder, which keeps the answer."""
    from edgeglass_diag.explanation.recipe_trials import is_of_recipe
    from edgeglass_diag.folders import read_header

    def progress(done: int, known: int, seconds: float) -> None:
        tell({"progress": {"replays_done": done, "replays_known": known, "seconds_each": round(seconds, 1)}})

    if is_of_recipe(read_header(Path(run))) and asked["axes"]:
        from edgeglass_diag.explanation.axes import parse_axes
        from edgeglass_diag.explanation.of_recipe_maps import MapQuestion, map_recipe

        map_recipe(MapQuestion(Path(run), parse_axes(asked["axes"]), Path(out), **_numbers(asked)), progress)
    elif is_of_recipe(read_header(Path(run))):
        from edgeglass_diag.explanation.of_recipes import Question, explain_run

        explain_run(Question(Path(run), asked.pop("against"), (), Path(out), **_numbers(asked)), progress)
    else:
        _explain_program(run, out, asked, progress)
    return str(Path(out) / EXPLANATION)


def _explain_program(run: str, out: str, asked: Mapping[str, Any], progress: Callable[[int, int, float], None]) -> None:
    from edgeglass_diag.explanation.axes import parse_axes
    from edgeglass_diag.explanation.of_programs import ProgramQuestion, explain_program
    from edgeglass_diag.explanation.subjects import Subject
    from edgeglass_diag.intervention import Intervention

    healthy = None if asked["against"] is None else Subject.of_run(Path(asked["against"]))
    wanted = [Intervention.parse(each) for each in asked["tries"]]
    subject, axes, numbers = Subject.of_run(Path(run)), parse_axes(asked["axes"]), _numbers(asked)
    question = ProgramQuestion(subject, Path(out), healthy, asked["suspects"], wanted=wanted, axes=axes, **numbers)
    explain_program(question, progress)


def _numbers(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: asked[name] for name in ("seeds", "steps", "budget")}


CALLS: Mapping[str, Callable[..., Any]] = {"check": check, "evaluate": evaluate, "explain": explain}

if __name__ == "__main__":
    main()
