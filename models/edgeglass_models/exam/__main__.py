"""The exam: small trainings of other people's kind, each with mistakes of users put into it, judged by all rules.

``python -m edgeglass_models.exam --part study --only 'simclr:*' --jobs 2``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from edgeglass_diag.process import say
from edgeglass_models.exam.cache import Cache
from edgeglass_models.exam.cases import chosen, programs
from edgeglass_models.exam.expected import EXPECTED
from edgeglass_models.exam.judged import write_judged
from edgeglass_models.exam.pool import import_for
from edgeglass_models.exam.report import report
from edgeglass_models.exam.results import Result, as_dict
from edgeglass_models.exam.runner import Exam, operators_without_names
from edgeglass_models.exam.scores import Scores, scores
from edgeglass_models.exam.truth import SEEDS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the exam and print its numbers."""
    options = _options(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    twins, cases = chosen(options.only, options.part)
    if not twins:
        sys.exit(f"no case is called {' or '.join(options.only)}")
    wanted = {twin.program for twin in twins}
    for statement, problem in import_for(source for name, source in programs().items() if name in wanted).items():
        say(f"{statement}: {problem}")
    _one_thread()
    exam = Exam(Cache(options.out), jobs=options.jobs, seeds=options.seeds, say=_progress)
    results = exam.run(twins, cases)
    if options.write:
        write_judged(results)
    parts = [scores(results, part) for part in (("study", "exam") if options.part == "all" else (options.part,))]
    if options.json:
        print(json.dumps(_as_json(results, parts, reveal=options.reveal), indent=1))
        return
    console = Console(soft_wrap=True)
    for part in report(results, parts, reveal=options.reveal):
        console.print(part)
    without = operators_without_names(results, EXPECTED)
    if without:
        console.print(f"\n{len(without)} operators of ill cases are named by no rule yet: {' '.join(without)}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edgeglass_models.exam", description=__doc__)
    parser.add_argument("--part", choices=("study", "exam", "all"), default="all")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PROGRAM:OPERATOR", help="a pattern, as 'byol:*'"
    )
    parser.add_argument("--seeds", type=int, choices=range(1, SEEDS + 1), default=SEEDS, help="how many are judged")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/exam"), help="folder of trials, records and judgements")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--reveal", action="store_true", help="tell the cases of the exam part, which are then spent")
    parser.add_argument("--write", action="store_true", help="write what each rule was judged on into the catalogue")
    options = parser.parse_args(arguments)
    options.out = options.out.absolute()
    return options


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _progress(text: str) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"\x1b[K{text}" if end == "\r" else text, end=end, file=sys.stderr, flush=True)


def _as_json(results: Sequence[Result], parts: Sequence[Scores], *, reveal: bool) -> dict[str, object]:
    told = [as_dict(result, details=reveal or result.part == "study") for result in results if result.operator]
    healthy = [as_dict(result, details=reveal or result.part == "study") for result in results if not result.operator]
    return {"parts": [part.as_dict() for part in parts], "cases": told, "healthy": healthy}


if __name__ == "__main__":
    main()
