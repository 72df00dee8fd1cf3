"""The figures of a report, each in both themes, packed for the page."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from edgeglass_diag.evaluation.frames import recall_frame
from edgeglass_diag.evaluation.pictures import pictures
from edgeglass_diag.explained.curves import multiples
from edgeglass_diag.explained.map_tiles import map_figure
from edgeglass_diag.figures.lines import loss_figure
from edgeglass_diag.figures.overlay import COLORS, COLUMNS, DASHES, Line, overlay_figure, whole_of
from edgeglass_diag.figures.rank_spread import lines_of_ranks
from edgeglass_diag.figures.reduced import shown
from edgeglass_diag.figures.retrieval import recall_bars
from edgeglass_diag.figures.style import TEMPLATES
from edgeglass_diag.figures.trials import trials_figure
from edgeglass_diag.report.report_run import Subject
from edgeglass_diag.signals import Signal, recorded
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM
from edgeglass_diag.signals.ranks import COLLECTIVES

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edgeglass_diag.store import Run

CAPTIONS = {
    "loss": "Loss by optimizer step; dashed: the loss of a model that tells nothing apart.",
    "ranks": "The ranks beside each other, of more than eight the median, the highest and the lowest.",
    "trials": "Loss by optimizer step, one line per seed: solid where it learns, dashed where it does not; grey: the "
    "replays in which nothing was changed.",
    "map": "What becomes of the training for each combination of settings; blue: it learns, the darker the lower its "
    "loss ends.",
    "mrl": "Recall against width, with other ways to save storage. Dotted: the knee; dashed: chance.",
    "pca": "Principal axes of both sides together, with a line from each image to its caption.",
    "tsne": "t-SNE of both sides. Neighbourhoods are kept, distances and sizes of clouds are not.",
    "umap": "UMAP of both sides. Neighbourhoods are kept, distances and sizes of clouds are not.",
    "similarity": "Cosines of pairs beside those of non-pairs.",
    "spectrum": "Singular values of each side's unit rows; a steep fall says that few directions are used.",
    "hubness": "How often each candidate stands among the first ten of the queries; flat is even.",
}

_MOST_OF_RANKS = 6
"""Most signals that are drawn by rank."""


@dataclass(frozen=True)
class Drawn:
    """A figure on the page: ``key`` in the packed figures, what it shows, of which run."""

    key: str
    kind: str
    caption: str


class Album:
    """Collects the figures of a report and packs them."""

    def __init__(self) -> None:
        self._figures: dict[str, dict[str, Any]] = {}

    def add(self, kind: str, caption: str, themes: dict[str, go.Figure]) -> Drawn:
        """A figure in each theme."""
        key = f"figure-{len(self._figures)}"
        self._figures[key] = {theme: json.loads(figure.to_json()) for theme, figure in themes.items()}
        return Drawn(key, kind, caption)

    def packed(self) -> str:
        """All figures as gzipped JSON in base64."""
        return pack(json.dumps(self._figures, separators=(",", ":")))


def pack(text: str) -> str:
    """Text as gzip in base64, the same bytes each time.

    Example:
        >>> import gzip, base64
        >>> gzip.decompress(base64.b64decode(pack("abc")))
        b'abc'
    """
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 9, mtime=0)).decode("ascii")


def loss_of(subject: Subject, album: Album) -> Drawn | None:
    """The loss by step, where one was recorded."""
    loss, chance = subject.series(LOSS_TOTAL), subject.series(LOSS_CHANCE)
    if loss.empty:
        return None
    cuts = [cut.step for cut in subject.run.cuts]
    themes = {name: loss_figure(loss, chance, template, cuts) for name, template in TEMPLATES.items()}
    return album.add("loss", f"{subject.label}. {CAPTIONS['loss']}", themes)


def ranks_of(subject: Subject, album: Album) -> Drawn | None:
    """The loss, the norm of the gradients, and what tells ranks apart that differ; None of a single process."""
    run = subject.run
    ranks = run.ranks
    if len(ranks) < 2:
        return None
    apart = [finding for finding in run.findings if finding.evidence.get("ranks") and finding.code in run.rules]
    told = [(signal, f.site) for f in apart for name in run.rules[f.code].signals if (signal := recorded(name))]
    wanted = [
        (LOSS_TOTAL, ""),
        (GRADIENT_NORM, ""),
        *(place for place in told if not _is_hash(place[0]) and place[0] != COLLECTIVES),
    ]
    lines: list[Line] = []
    for place in list(dict.fromkeys(wanted))[:_MOST_OF_RANKS]:
        lines += _by_rank(ranks, *place, first=len(lines))
    if not lines:
        return None
    themes = {}
    for name, template in TEMPLATES.items():
        themes[name] = overlay_figure(lines, template).update_layout(showlegend=True)
    differ = "".join(f" {finding.message}." for finding in apart[:3])
    return album.add("ranks", f"{subject.label}. {CAPTIONS['ranks']}{differ}", themes)


def _by_rank(ranks: Mapping[int, Run], signal: Signal, site: str, *, first: int) -> list[Line]:
    having = {rank: run.series(signal, site) for rank, run in ranks.items() if signal in run.signals}
    drawn = lines_of_ranks({rank: one for rank, one in having.items() if len(one.steps)})
    found = []
    for number, (words, steps, values) in enumerate(drawn, start=first):
        kept = shown(steps, values, columns=COLUMNS)
        place = f"{words}, {site}" if site else words
        style = number % len(COLORS), number % len(DASHES)
        found.append(Line("", signal, place, *style, steps[kept], values[kept], None, whole_of(steps, values)))
    return found


def _is_hash(signal: Signal) -> bool:
    """Return whether a signal tells only whether two things are equal."""
    return str(signal).endswith(("digest", "fingerprint"))


def trials_of(subject: Subject, album: Album) -> Drawn | None:
    """The losses of the replays that explain a run, side by side; None where none can be read."""
    folder = subject.explained_in
    if subject.explanation is None or folder is None:
        return None
    drawn, relative = multiples(subject.explanation, folder)
    if not drawn:
        return None
    themes = {name: trials_figure(drawn, template, relative=relative) for name, template in TEMPLATES.items()}
    return album.add("trials", f"{subject.label}. {CAPTIONS['trials']}", themes)


def map_of(subject: Subject, album: Album) -> Drawn | None:
    """The phase diagram of a map; None where the explanation of the run is none."""
    if subject.explanation is None or subject.explanation.phase_map is None:
        return None
    found = subject.explanation.phase_map
    themes = {name: map_figure(found, template) for name, template in TEMPLATES.items()}
    return album.add("map", f"{subject.label}. {CAPTIONS['map']}", themes)


def recalls_of(subjects: Sequence[Subject], album: Album) -> Drawn | None:
    """Recalls of all runs that were evaluated, side by side."""
    frames = [
        recall_frame(dict(s.evaluation.result)).assign(run=escape(s.label))
        for s in subjects
        if s.evaluation is not None
    ]
    if not frames:
        return None
    frame = pd.concat(frames, ignore_index=True)
    themes = {name: recall_bars(frame, template) for name, template in TEMPLATES.items()}
    return album.add("recall", "Recall at full width with 95 % intervals; the short lines are chance.", themes)


def embeddings_of(subject: Subject, album: Album) -> Iterator[Drawn]:
    """Everything that the embeddings of a run can be seen by, but its recalls."""
    if subject.evaluation is None:
        return
    result, sample = dict(subject.evaluation.result), subject.evaluation.sample
    drawn = pictures(result, sample, TEMPLATES)
    for kind, caption in CAPTIONS.items():
        if kind in drawn["light"]:
            themes = {theme: figures[kind] for theme, figures in drawn.items()}
            yield album.add(kind, f"{subject.label}. {caption}", themes)
