"""Train known faults and healthy models under observation, and score what the rules find."""

from __future__ import annotations

import fnmatch
import inspect
import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeglass_diag.bench.scores import summary, verdict
from edgeglass_diag.plain_values import plain
from edgeglass_diag.programs.options import WatchOptions
from edgeglass_diag.provider_protocols import Case, provider
from edgeglass_diag.records import UsageError
from edgeglass_diag.store import load
from edgeglass_diag.user_input.files import exists
from edgeglass_diag.workers import default_workers, processes

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """Which cases are run: those that match ``pattern`` (several with commas), with ``seeds`` seeds each.

    With ``fast`` the fast ones alone. ``workers`` is the number of runs at once, in processes that share the cores.
    """

    out: Path
    pattern: str = "*"
    seeds: int = 1
    fast: bool = False
    workers: int | None = None


def run_bench(request: Request, options: WatchOptions, progress: Progress) -> dict[str, Any]:
    """Run the cases whose results are missing, and return the counts over all.

    Each run has a folder ``OUT/NAME-SEED`` with its record and, once it has ended, ``verdict.json``. One that is
    there is not run again unless the case, a threshold, or any source of this package, of the cases or of another
    package's rules has changed.

    Raises:
        UsageError: if the pattern matches no case, or the folder holds something else.
    """
    chosen = _chosen(request)
    todo = [(case, seed) for seed in range(request.seeds) for case in chosen]
    rules = zlib.crc32(json.dumps([(rule.code, rule.thresholds) for rule in options.rules]).encode())
    rules = zlib.crc32(_sources(options, chosen), rules)
    known = {(case.name, seed): _known(_folder(request, case, seed), _stamp(case, rules)) for case, seed in todo}
    missing = [(case, seed) for case, seed in todo if known[case.name, seed] is None]
    for case, seed, row in _made(missing, request, options, progress):
        stamped = {**row, "stamp": _stamp(case, rules)}
        (_folder(request, case, seed) / "verdict.json").write_text(json.dumps(plain(stamped)), encoding="utf-8")
        known[case.name, seed] = stamped
    return summary([made for case, seed in todo if (made := known[case.name, seed]) is not None])


def _made(
    missing: Sequence[tuple[Case, int]], request: Request, options: WatchOptions, progress: Progress
) -> Iterator[tuple[Case, int, dict[str, Any]]]:
    workers = min(request.workers or default_workers(), max(1, len(missing)))
    begun = time.monotonic()
    with processes(workers) as pool:
        running = {
            pool.submit(_run, case.name, seed, _folder(request, case, seed), options): (case, seed)
            for case, seed in missing
        }
        try:
            for done, future in enumerate(as_completed(running), 1):
                case, seed = running[future]
                left = (time.monotonic() - begun) / done * (len(missing) - done)
                progress(f"{done}/{len(missing)} {case.name} (seed {seed}), about {left:.0f} s to go")
                yield case, seed, future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _folder(request: Request, case: Case, seed: int) -> Path:
    return request.out / f"{case.name}-{seed}"


def _stamp(case: Case, rules: int) -> dict[str, Any]:
    return {"rules": rules, "expected": list(case.expected), "places": list(case.places), "summary": case.summary}


def _sources(options: WatchOptions, cases: Iterable[Case]) -> bytes:
    """Return the sources that a verdict depends on: of this package, of the cases and of other packages' rules."""
    files = {Path(inspect.getfile(type(each))) for each in (*options.rules, *cases)}
    packages = {Path(__file__).parents[1], *(file.parent for file in files)}
    packages = {folder for folder in packages if (folder / "__init__.py").is_file()}
    files |= {file for folder in packages for file in folder.rglob("*.py")}
    return b"".join(file.read_bytes() for file in sorted(files))


def _chosen(request: Request) -> list[Case]:
    offered, patterns = list(provider().cases()), request.pattern.split(",")
    chosen = [
        case
        for case in offered
        if any(fnmatch.fnmatch(case.name, pattern.strip()) for pattern in patterns) and (case.fast or not request.fast)
    ]
    if not chosen:
        raise UsageError(f"--faults: no case matches {request.pattern!r}: expected one of "
                         f"{', '.join(case.name for case in offered)}")  # fmt: skip
    if exists(request.out) and not exists(request.out / "bench.json") and any(request.out.iterdir()):
        raise UsageError(f"--out: {request.out} is not empty and holds no bench")
    try:
        request.out.mkdir(parents=True, exist_ok=True)
        (request.out / "bench.json").write_text(json.dumps({"format": "edgeglass-diag bench"}), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {request.out}: {error.strerror or error}") from error
    return chosen


def _known(folder: Path, stamp: dict[str, Any]) -> dict[str, Any] | None:
    file = folder / "verdict.json"
    if not file.is_file():
        return None
    row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return row if row.get("stamp") == stamp else None


def _run(name: str, seed: int, folder: Path, options: WatchOptions) -> dict[str, Any]:
    """Run one case in a process of the pool, which gets it by name: functions cannot be pickled."""
    from edgeglass_diag.watching import Watch

    case = next(case for case in provider().cases() if case.name == name)
    if folder.exists():
        shutil.rmtree(folder)
    job = case.job(seed)
    header = {"settings": {**job.settings, "total_steps": job.prepare()}}
    begun = time.monotonic()
    failed = {}
    try:
        with Watch(folder, name=job.name, every=options.every, rules=options.rules, header=header) as watch:
            watch.result |= job.train(folder, watch.log)
    except Exception as error:  # a fault may end its training; what was found until then counts
        failed = {"error": f"{type(error).__name__}: {error}"}
    with load(folder) as run:
        return {**verdict(case, run.findings), "seed": seed, "seconds": round(time.monotonic() - begun, 2),
                "metrics": run.result, **failed}  # fmt: skip
