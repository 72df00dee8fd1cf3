"""The answers in the how-to pages: what their commands print in a folder with the files of ``docs/howto``.

    python docs/site/answers.py                     # writes all answers anew
    python docs/site/answers.py embeddings-alike    # of one page
    python docs/site/answers.py --check             # changes nothing; exit status 1 if another rule is the headline

An answer stands between ``<!-- answer -->`` and ``<!-- end -->``, as a block whose lines with ``$`` are the commands.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs" / "howto"
BLOCK = re.compile(r"(?<=<!-- answer -->\n```console\n)(.*?)(?=```\n<!-- end -->)", re.S)
CODE = re.compile(r"\bEG\d{3}\b")
WIDTH = "100"


def main() -> int:
    """Write the answers anew, or compare the rules that they name first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", help="names of pages, without .md")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    found = [HOWTO / f"{name}.md" for name in options.pages] or sorted(HOWTO.glob("*.md"))
    return max([_page(path, options.check) for path in found])


def _page(path: Path, check: bool) -> int:
    old = path.read_text(encoding="utf-8")
    new = BLOCK.sub(lambda block: answers(commands(block[0])), old)
    if check:
        now, then = (headlines("".join(BLOCK.findall(text))) for text in (new, old))
        print(f"{path.name}: {' '.join(now)}{'' if now == then else ', and the page says ' + ' '.join(then)}")
        return 0 if now == then else 1
    path.write_text(new, encoding="utf-8")
    print(path.name)
    return 0


def headlines(block: str) -> list[str]:
    """Return the rule that each command names first; numbers, and what else is found, differ between machines.

    >>> headlines("$ edgeglass-diag findings runs/a\\nEG202\\n  EG301\\n$ edgeglass-diag audit b\\nEG256\\n")
    ['EG202', 'EG256']
    """
    return [codes[0] for said in re.split(r"^\$ ", block, flags=re.M) if (codes := CODE.findall(said))]


def commands(block: str) -> list[str]:
    """Return the commands of an answer.

    >>> commands("$ edgeglass-diag rules\\nEG001\\n")
    ['edgeglass-diag rules']
    """
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def answers(lines: list[str]) -> str:
    """Return the commands, each with what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        for source in (HOWTO / "programs", HOWTO / "logs"):
            shutil.copytree(source, folder, dirs_exist_ok=True)
        return "".join(f"$ {line}\n{_printed(line, Path(folder))}" for line in lines)


def _printed(line: str, folder: Path) -> str:
    places = {"python": sys.executable, "edgeglass-diag": str(Path(sys.executable).parent / "edgeglass-diag")}
    command, _, last = line.partition(" | tail -n ")
    first, *rest = shlex.split(command)
    own = {**os.environ, "COLUMNS": WIDTH, "NO_COLOR": "1", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([places[first], *rest], cwd=folder, env=own, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{line}: exit status {done.returncode}\n{done.stderr}")
    if first == "python":
        return ""  # what the training itself prints is in its log
    said = done.stdout.replace(f"{folder.resolve()}/", "").replace(f"{ROOT}/", "").strip("\n")
    return "\n".join(one.rstrip() for one in said.splitlines()[-int(last or 0) :]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
