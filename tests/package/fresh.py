"""Build the package, install it with pip into a new environment, and use it there: ``make test-package``.

First without extras, then with one after the other. Sizes on disk are those of the files that pip has recorded, beside
torch and what torch requires.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("figures", "dashboard", "evaluate", "report", "models")
"""Those that are installed in turn."""

MEASURE = """
import json, os, sys
from importlib.metadata import distributions, distribution
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

def size(dist):
    files = {os.path.realpath(dist.locate_file(file)) for file in dist.files or []}
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file) and file.startswith(sys.prefix))

there = {canonicalize_name(dist.metadata["Name"]): dist for dist in distributions()}
torch, waiting = set(), ["torch"]
while waiting:
    name = waiting.pop()
    if name in torch or name not in there:
        continue
    torch.add(name)
    needs = [Requirement(line) for line in there[name].requires or []]
    waiting += [canonicalize_name(n.name) for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
own = set(there) - torch - {"pip", "setuptools", "wheel", "packaging"}
print(json.dumps([len(torch), sum(size(there[n]) for n in torch), len(own), sum(size(there[n]) for n in own)]))
"""


def call(*words: object, **options: object) -> None:
    """Run a command; end with its status if it fails."""
    print("$", *words, flush=True)
    done = subprocess.run([str(word) for word in words], **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(done.returncode)


def build(out: Path) -> Path:
    """Build sdist and wheel, and the wheel again from the sdist; return the wheel, which is the same both times."""
    call(sys.executable, "-m", "hatchling", "build", "-d", out, cwd=ROOT)
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(out / "source", filter="data")
    (unpacked,) = (out / "source").iterdir()
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out / "again", cwd=unpacked)
    (again,) = (out / "again").glob("*.whl")
    assert contents(wheel) == contents(again), "the wheel from the sdist is another one"
    sizes = [f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in (wheel, source)]
    print("built:", *sizes, "; the sdist builds the same wheel", flush=True)
    return wheel


def contents(wheel: Path) -> dict[str, str]:
    """Return the hash of each file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def measured(python: Path) -> tuple[int, ...]:
    """Return packages and bytes of torch with what it requires, and of all else."""
    done = subprocess.run([python, "-c", MEASURE], capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout))


def tests(python: Path, *words: str) -> None:
    """Run tests of this folder with an environment's interpreter as the one they try."""
    where = {**os.environ, "EDGEGLASS_PACKAGE_PYTHON": str(python)}
    call(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, cwd=ROOT, env=where)


def main() -> None:
    """Build, install, measure, use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the new environment")
    parser.add_argument("--torch", default="torch==2.13.0", help="what pip installs first")
    parser.add_argument("--index-url", default=os.environ.get("TORCH_INDEX_URL"), help="of torch, for pip")
    parser.add_argument("--without-torch", action="store_true", help="only what reads records and logs")
    parser.add_argument("--site", action="store_true", help="take torch from the interpreter's own packages")
    parser.add_argument("--no-constraints", action="store_true", help="newest versions, not those of constraints.txt")
    parser.add_argument("--extras", default=",".join(EXTRAS), help="installed in turn; none where empty")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeglass-package-") as place:
        folder = Path(place)
        wheel = build(folder / "dist")
        call(asked.python, "-m", "venv", *(["--system-site-packages"] if asked.site else []), folder / "venv")
        python = folder / "venv" / "bin" / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--no-warn-script-location"]
        if not asked.no_constraints:
            pip += ["--constraint", ROOT / "constraints.txt"]
        if asked.without_torch:
            read_only(python, pip, wheel)
            return
        if not asked.site:
            call(*pip, *(["--index-url", asked.index_url] if asked.index_url else []), asked.torch)
        show(python, in_turn(python, pip, wheel, [extra for extra in asked.extras.split(",") if extra]))


def read_only(python: Path, pip: Sequence[object], wheel: Path) -> None:
    """Install all but torch; use what needs none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    call(*pip, *(line for line in project["dependencies"] if not line.startswith("torch")))
    call(*pip, "--no-deps", wheel)
    tests(python, "tests/package/test_without_torch.py")
    print(f"\n{version_of(python)}, without torch: records and logs are read", flush=True)


def in_turn(python: Path, pip: Sequence[object], wheel: Path, extras: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Install and use the package without extras, then with one after the other; return what was measured by each."""
    rows = {}
    for extra in ("", *extras):
        call(*pip, "packaging", f"{wheel}[{extra}]" if extra else wheel)
        rows[extra or "no extra"] = measured(python)
        print(f"{extra or 'no extra'}: {rows[extra or 'no extra']}", flush=True)
        tests(python, "tests/package/test_extra.py" if extra else "tests/package/test_core.py", "-k", extra)
    return rows


def show(python: Path, rows: dict[str, tuple[int, ...]]) -> None:
    """Print what was measured."""
    packages, size, *_ = rows["no extra"]
    torch = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    print(f"\n{version_of(python)}, torch {torch.stdout.strip()}: {packages} packages, {size / 1e6:.0f} MB")
    print("installed in turn        packages beside torch's    MB beside torch's")
    for extra, (_, _, packages, size) in rows.items():
        print(f"{extra:<24} {packages:>24} {size / 1e6:>20.0f}")


def version_of(python: Path) -> str:
    """Return the version of an interpreter."""
    return subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
