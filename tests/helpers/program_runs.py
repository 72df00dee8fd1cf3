"""Programs are run twice: by Python alone, and under observation."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.helpers.command_server import CommandServer
from tests.helpers.waiting import PATIENCE

CLIP = """
    import torch
    from torch import nn
    import torch.nn.functional as F

    class Clip(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.text = nn.Linear(6, 8), nn.Linear(5, 8)

        def forward(self, images, texts):
            return F.normalize(self.image(images), dim=-1), F.normalize(self.text(texts), dim=-1)

    def contrastive(model, images, texts):
        left, right = model(images, texts)
        logits = 10 * left @ right.T
        labels = torch.arange(len(logits))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    def train(model, steps, batches=None):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for step, (images, texts) in zip(range(steps), batches or iter(random_batch, None)):
            loss = contrastive(model, images, texts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(step, loss.item(), flush=True)

    def random_batch():
        return torch.randn(8, 6), torch.randn(8, 5)
"""


def run_script(*words: str) -> None:
    """Run a script with its arguments in this process."""
    sys.argv[:] = words
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_path(words[0], run_name="__main__")


@dataclass(frozen=True)
class Programs:
    """A folder with programs, which can be run as Python runs them and as we do."""

    folder: Path
    server: CommandServer
    command: str = str(Path(sys.executable).parent / "edgeglass-diag")

    def write(self, name: str, source: str, *, clip: bool = False) -> None:
        """Write a program; with ``clip`` it finds a small model and its training in ``clip_parts``."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(dedent(source))
        if clip:
            (place.parent / "clip_parts.py").write_text(dedent(CLIP))

    def plain(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """``python words``."""
        return self._run([sys.executable, *words], options)

    def watched(self, *words: str, own: tuple[str, ...] = (), **options: object) -> subprocess.CompletedProcess[str]:
        """``edgeglass-diag run own words``, its record in the folder ``run``."""
        return self._run([self.command, *self._line("run", words, own)], options)

    def copied(
        self, *words: str, own: tuple[str, ...] = (), verb: str = "run", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """As ``watched``, in a copy of a process that has imported torch: for what does not depend on the import."""
        return self.server.run(*self._line(verb, words, own), cwd=self.folder, env={**os.environ, **(env or {})})

    def alone(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The script as Python runs it, in such a copy."""
        return self.server.call(run_script, *words, cwd=self.folder)

    def _line(self, verb: str, words: tuple[str, ...], own: tuple[str, ...]) -> list[str]:
        count = 2 if words[0] == "-m" else 1
        return [verb, "--out", str(self.folder / "run"), *own, *words[:count], "--", *words[count:]]

    def _run(self, line: list[str], options: dict[str, object]) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        return subprocess.run(
            line, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, env=environment, **options
        )
