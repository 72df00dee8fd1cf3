"""Reads a run directory, also while it is being written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeglass_diag.folders import rank_folders, read_header
from edgeglass_diag.marks import Explained, read_explained
from edgeglass_diag.ranks import merge_findings
from edgeglass_diag.records import (
    ConfiguredRule,
    Cut,
    Finding,
    Findings,
    ParameterOrigin,
    RecordState,
    RunStatus,
    Site,
    UsageError,
    Window,
)
from edgeglass_diag.shown import Shown
from edgeglass_diag.store import earlier_versions, frames, rows, standing
from edgeglass_diag.store.database import Database
from edgeglass_diag.store.embeddings import read_embeddings, snapshot_steps
from edgeglass_diag.store.resuming import cuts_of
from edgeglass_diag.store.stored_signals import StoredSignals

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from plotly.graph_objects import Figure

    from edgeglass_diag.notebooks.document import Document
    from edgeglass_diag.pair_samples import PairSamples
    from edgeglass_diag.rules.ranks_judge import RankJudge, WholeParameters

UNSEALED = (1, 2, 3)
"""Versions whose rows have no checksums."""


def load(path: str | Path) -> Run:
    """Open a run directory for reading.

    Raises:
        UsageError: when there is no such folder, it is not a run of this tool, or what stands in it is damaged.
    """
    return Run(Path(path))


class Run(StoredSignals, Shown):
    """A run directory opened for reading, also while it is being written.

    Where several processes trained, each has a store of its own. What is read here is the main process's, or that
    of the lowest rank where the main process only launched the others; ``findings`` are those of all ranks.
    """

    def __init__(self, folder: Path) -> None:
        self.header = read_header(folder)
        self._others: dict[int, Run] = {}
        self._sites: tuple[int, list[Site]] = (-1, [])
        self._judge: RankJudge | None = None
        self._whole: WholeParameters | None = None
        launched = {} if "rank" in self.header else rank_folders(folder)
        self._place = next(iter(launched.values()), folder)
        own = read_header(self._place)
        version = int(own["version"])
        self._translate = earlier_versions if version in earlier_versions.VERSIONS else rows
        live = standing.status_of(self._place, own) == RunStatus.RUNNING
        db = Database(self._place, live=live, sealed=version not in UNSEALED, crc=own.get("store_crc32"))
        super().__init__(folder, db)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._db.close()
        for other in self._others.values():
            other.close()

    @property
    def ranks(self) -> dict[int, Run]:
        """The run of each process that trained, by rank, itself among them; a process without a rank by its id."""
        folders = rank_folders(self.folder)
        for rank in folders.keys() - self._others.keys():
            self._others[rank] = Run(folders[rank])
        own = {int(self.header.get("rank", 0)): self} if "rank" in self.header or not folders else {}
        return dict(sorted((own | self._others).items()))

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.header["name"])

    @property
    def status(self) -> RunStatus:
        """How the run stands; failed too where its process died without noting its end."""
        return standing.status_of(self.folder, self.header)

    @property
    def record(self) -> RecordState:
        """How much of the training the record holds, and what was lost, of this rank."""
        noted = standing.record_of(self._place) or RecordState()
        taken, recorded = max(noted.taken, self.last_step + 1), max(noted.recorded, self.windows)
        return replace(noted, taken=taken, recorded=recorded)  # what was noted may be half a second old

    @property
    def result(self) -> dict[str, Any]:
        """What the run reported at its end; empty before."""
        return dict(self.header.get("result", {}))

    @property
    def explained(self) -> Explained:
        """What is kept of the run's newest explanation, read anew each time."""
        return read_explained(self.folder)

    @property
    def findings(self) -> Findings:
        """All findings of all ranks, worst first, causes before what follows from them, then by step.

        Each has the mark of the run's newest explanation.
        """
        ranks = self.ranks
        missing = standing.missing_ranks([self.header, *(run.header for run in ranks.values())], ranks.keys())
        each = {rank: run._own_findings() for rank, run in ranks.items()}
        whole = merge_findings(each) if missing or len(ranks) < 2 else self._of_whole_parameters(ranks, each)
        found = self._with_across(whole, ranks)
        if missing and self.status != RunStatus.RUNNING:
            found += self._of_the_record(RecordState(missing_ranks=missing))
        marked = self._marked(found)
        return Findings(sorted(marked, key=lambda f: (-f.severity.rank, f.because_of is not None, f.step)))

    def _of_whole_parameters(self, ranks: dict[int, Run], each: dict[int, list[Finding]]) -> list[Finding]:
        """Return what is found, by the norms of whole parameters where they are sharded over the ranks."""
        from edgeglass_diag.rules.ranks_judge import WholeParameters

        if self._whole is None:
            self._whole = WholeParameters(self.rules)
        return self._whole.findings(ranks, each, windows=self.windows, ended=self.status == RunStatus.FINISHED)

    def _with_across(self, found: list[Finding], ranks: dict[int, Run]) -> list[Finding]:
        """Return what single ranks have found, below what only the records of several together show, and that."""
        if len(ranks) < 2:
            return found
        from edgeglass_diag.rules.ranks_judge import judge_by, nested_below

        if self._judge is None:
            self._judge = judge_by(self.rules)
        across = self._judge.judge(ranks)
        return nested_below(found, across) + across

    @property
    def failure(self) -> str:
        """What ended a run that failed, empty where no error did: of several ranks that of the first to end, named."""
        from edgeglass_diag.store.endings import failure_of

        failed = any(each.status == RunStatus.FAILED for each in (self, *self.ranks.values()))
        return failure_of(self) if failed and self.status in (RunStatus.FAILED, RunStatus.FINISHED) else ""

    def _marked(self, found: list[Finding]) -> list[Finding]:
        marks = self.explained.marks
        known = [(finding, marks.get(finding.key)) for finding in found]
        return [replace(finding, mark=m.mark, mark_by=m.by) if m else finding for finding, m in known]

    def _own_findings(self) -> list[Finding]:
        return self.kept_findings + self._of_the_record(self.record)

    @property
    def kept_findings(self) -> list[Finding]:
        """What the process of this store has found of the training, as it stands in the store."""
        with self._db.readable():
            return [self._translate.finding(record) for *_, record in self._db.select("findings", "ORDER BY id")]

    def kept_windows(self) -> Iterator[Window]:
        """Yield the windows of this store by step; of a long series what ``kept_indices`` chooses of its readings.

        The first one has all sites and origins.
        """
        found = self.windows_of_all()
        for number, (step, readings) in enumerate(sorted(found.items())):
            about = (tuple(self.sites), tuple(self.origins)) if number == 0 else ((), ())
            yield Window(step, tuple(readings), *about)

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """Where the run went on after its program had ended and was started again, by rising step."""
        return cuts_of(read_header(self._place))

    def _of_the_record(self, record: RecordState) -> list[Finding]:
        """Return what is wrong with the record itself, of which the store has facts and no findings."""
        from edgeglass_diag.rules.record_health import RECORD_RULES, record_findings

        return record_findings((rule() for rule in RECORD_RULES if rule.code in self.rules), record, self.sites)

    @cached_property
    def rules(self) -> dict[str, ConfiguredRule]:
        """The rules as they judged this run, by code; those of the catalogue where the run does not hold them.

        Of the latter each is found under the codes that it had in older runs as well.
        """
        header = self.header | read_header(self._place)
        if "rules" in header:
            with self._db.readable():
                return rows.rules(header["rules"])
        from edgeglass_diag.rules import CATALOGUE

        return {code: rule().configured() for rule in CATALOGUE for code in (rule.code, *rule.aliases)}

    @property
    def sites(self) -> list[Site]:
        """All sites in their order of first execution."""
        version = self._db.version
        if self._sites[0] != version:
            with self._db.readable():
                kept = self._db.select("sites", "ORDER BY position, path", columns=self._translate.SITES)
                self._sites = version, [self._translate.site(*row) for row in kept]
        return list(self._sites[1])

    @property
    def origins(self) -> list[ParameterOrigin]:
        """Where each parameter's initial value comes from, as far as it was seen."""
        with self._db.readable():
            return [rows.origin(*row) for row in self._db.select("origins", "ORDER BY rowid")]

    def frame(self, signal: str, *, site: str | None = None) -> pd.DataFrame:
        """Readings of one signal as a frame with columns step, site, component, value; rank first where several are.

        Norms of parameters that are sharded over the ranks (FSDP2) are those of the whole parameters.

        Raises:
            UsageError: for a signal that this run has not recorded.
        """
        ranks = self.ranks
        named = self.recorded(signal, ranks.values())
        by_rank = {rank: run.table_of(named, site) for rank, run in ranks.items()}
        return frames.merged(by_rank, named, next(iter(ranks.values())).sites)

    def embedding_steps(self) -> list[int]:
        """The steps at whose end embeddings were kept, in rising order."""
        return snapshot_steps(self._place)

    def embeddings(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Image and text embeddings of up to 256 pairs of a step, (pairs, dims) each.

        They are the operands of the loss's matrix product: a scale that was multiplied onto one side before it is in
        them, so compare them by cosine. Where no name told the sides apart, the left one stands for the image.

        Raises:
            UsageError: when none were kept at this step, or the file cannot be read.
        """
        return read_embeddings(self._place, step)

    def samples(self, step: int) -> PairSamples:
        """Small pictures and captions of the pairs of a step, as far as they were kept.

        Raises:
            UsageError: when the file cannot be read.
        """
        from edgeglass_diag.store.samples import read_samples

        return read_samples(self._place, step)

    def figure(self, name: str, *, site: str | None = None, step: int | None = None, dark: bool = False) -> Figure:
        """A plotly figure, as the dashboard draws it: ``loss``, ``attention``, ``updates``, ``signal`` and others.

        Args:
            name: of the figure, or a signal that is drawn as site x step; an unknown one is answered with all names.
            site: of a signal the history of this site, one line per head.
            step: of ``signal`` the recorded step at or before this one; the newest where None.
            dark: for a dark ground.

        Raises:
            UsageError: for an unknown name.
        """
        from edgeglass_diag.figures.of_run import figure_of  # plotly takes as long as all the rest

        try:
            return figure_of(self, name, site=site, step=step, dark=dark)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _document(self) -> Document:
        from edgeglass_diag.notebooks.of_run import run_document

        return run_document(self)

    def _ipython_display_(self) -> None:
        from edgeglass_diag.notebooks.of_run import show_run

        show_run(self)
