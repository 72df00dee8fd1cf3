"""Make a git repository of ten commits of a small image-text training, of which one makes it ill.

    python examples/guilty_history.py FOLDER --fault lr

The program is `train.py` with `perceiver.py`, `pairs.py` and `settings.py`. Its images are sets of tokens, its captions
words: which value goes with which attribute tells pairs apart, so that the resampler must look at each attribute. The
faults: a learning rate of 3 (`lr`), no LayerNorm before the resampler, which sees pixels of 0 to 255 (`norm`), and
latents that are all the same (`latents`). Each is a line of a commit that also changes something innocent.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

SETTINGS = """\
steps = 100
batch_size = 24
width = 32
lr = 1e-3
temperature = 0.1
seed = 0
"""

PAIRS = """\
import itertools

import torch

ATTRIBUTES = 6
CHOICES = torch.tensor(list(itertools.permutations(range(ATTRIBUTES))))


def draw(batch_size):
    values = CHOICES[torch.randperm(len(CHOICES))[:batch_size]]
    tokens = torch.nn.functional.one_hot(torch.arange(ATTRIBUTES), ATTRIBUTES).expand(batch_size, -1, -1)
    tokens = torch.cat([tokens, torch.nn.functional.one_hot(values, ATTRIBUTES)], dim=-1).float()
    return 128 + 40 * (tokens + 0.05 * torch.randn_like(tokens)), values
"""

PERCEIVER = """\
import torch
from torch import nn


class Perceiver(nn.Module):
    def __init__(self, inputs, width, latents=6):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width))
        self.norm = nn.LayerNorm(inputs)
        self.keys = nn.Linear(inputs, width)
        self.values = nn.Linear(inputs, width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens):
        tokens = self.norm(tokens)
        scores = self.latents @ self.keys(tokens).mT / self.latents.shape[-1] ** 0.5
        return self.out(torch.tanh(scores.softmax(dim=-1) @ self.values(tokens))).mean(dim=1)
"""

TRAIN = """\
import torch
from pairs import ATTRIBUTES, draw
from perceiver import Perceiver
from settings import batch_size, lr, seed, steps, temperature, width
from torch import nn
from torch.nn.functional import cross_entropy, normalize


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(ATTRIBUTES * ATTRIBUTES, width)
        self.out = nn.Linear(width, width)

    def forward(self, values):
        return self.out(torch.tanh(self.words(values + ATTRIBUTES * torch.arange(ATTRIBUTES)).sum(dim=1)))


torch.manual_seed(seed)
image, text = Perceiver(2 * ATTRIBUTES, width), Text()
optimizer = torch.optim.AdamW([*image.parameters(), *text.parameters()], lr=lr)
for step in range(steps):
    tokens, values = draw(batch_size)
    logits = normalize(image(tokens), dim=-1) @ normalize(text(values), dim=-1).T / temperature
    labels = torch.arange(batch_size)
    loss = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss {loss.item():.4f}")
"""

Edit = tuple[str, str, str]
"""A file, what is in it, and what is put in its place."""

INNOCENT: Sequence[tuple[str, Sequence[Edit]]] = (
    ("Name the labels once", [("train.py", "    labels = torch.arange(batch_size)\n", ""),
                              ("train.py", "for step in", "labels = torch.arange(batch_size)\nfor step in")]),
    ("Say what the settings are", [("settings.py", "steps = 100\n", "# One place for all numbers.\nsteps = 100\n")]),
    ("A colder softmax", [("settings.py", "temperature = 0.1\n", "temperature = 0.07\n")]),
    ("Say how far it is", [("train.py", "    optimizer.step()\n",
                            "    optimizer.step()\n    if step % 20 == 0:\n        print(step, loss.item())\n")]),
    ("Words for the resampler", [("perceiver.py", "class Perceiver(nn.Module):\n",
                                  'class Perceiver(nn.Module):\n    """Latents look at tokens."""\n\n')]),
    ("A little more noise", [("pairs.py", "0.05", "0.06")]),
    ("Decay the weights as before, but say so", [("train.py", "lr=lr)", "lr=lr, weight_decay=0.01)")]),
    ("Fewer words in the loop", [("train.py", "step % 20", "step % 30")]),
)  # fmt: skip

FAULTS: Mapping[str, Sequence[Edit]] = {
    "lr": [("settings.py", "lr = 1e-3\n", "lr = 3\n")],
    "norm": [("perceiver.py", "        tokens = self.norm(tokens)\n", "")],
    "latents": [("perceiver.py", "torch.randn(latents, width))", "torch.full((latents, width), 0.02))")],
}
"""What the guilty commit changes."""

GUILTY: tuple[str, Sequence[Edit]] = (
    "Tidy up",
    [
        ("settings.py", "seed = 0\n", "seed = 0  # of everything\n"),
        ("pairs.py", "ATTRIBUTES = 6\n", "ATTRIBUTES = 6  # shape, colour, place, size, texture, light\n"),
    ],
)
"""What it changes besides."""


def make_history(folder: Path, *, fault: str | None, guilty: int = 6) -> list[str]:
    """Make a repository of ten commits in a folder that does not exist yet, and return their hashes, oldest first.

    Args:
        folder: where it is made.
        fault: a name of ``FAULTS``; a history without one if None.
        guilty: number of the commit that has it, from 1 for the second to 9 for the last.
    """
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    texts = {"settings.py": SETTINGS, "pairs.py": PAIRS, "perceiver.py": PERCEIVER, "train.py": TRAIN}
    hashes = [commit(folder, texts, "A two-tower training", 0)]
    message, edits = GUILTY
    later = list(INNOCENT)
    later.insert(guilty - 1, (message, [*edits, *(FAULTS[fault] if fault else [])]))
    for number, (message, edits) in enumerate(later, start=1):
        for file, old, new in edits:
            assert texts[file].count(old) == 1, (file, old)
            texts[file] = texts[file].replace(old, new)
        hashes.append(commit(folder, texts, message, number))
    return hashes


def commit(folder: Path, texts: Mapping[str, str], message: str, number: int) -> str:
    for file, text in texts.items():
        (folder / file).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message, when=f"2024-05-{number + 1:02} 12:00:00 +0000")
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *words: str, when: str = "") -> str:
    facts = {"NAME": "A. Trainer", "EMAIL": "trainer@example.org", "DATE": when or "2024-05-01 12:00:00 +0000"}
    who = {f"GIT_{role}_{fact}": value for role in ("AUTHOR", "COMMITTER") for fact, value in facts.items()}
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *words], cwd=folder, env=os.environ | who | own, check=True, capture_output=True)
    return done.stdout.decode().strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fault", choices=sorted(FAULTS), required=True)
    parser.add_argument("--guilty", type=int, choices=range(1, 10), default=6)
    options = parser.parse_args()
    print("\n".join(make_history(options.folder, fault=options.fault, guilty=options.guilty)))
