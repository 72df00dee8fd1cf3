"""Creates a run directory and appends to it."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeglass_diag.folders import FORMAT, VERSION, fixed
from edgeglass_diag.forking import is_safe, keep_for_ever
from edgeglass_diag.liveness import ProcessIdentity
from edgeglass_diag.records import Cut, Finding, RecordState, RunStatus, UsageError, Window
from edgeglass_diag.store.schema import FILE, create, file_checksum, open_for_writing, remove_journal
from edgeglass_diag.store.state import StateFile
from edgeglass_diag.store.window_rows import write_findings, write_window

if TYPE_CHECKING:
    from edgeglass_diag.pair_samples import PairSamples
    from edgeglass_diag.store.embeddings import Embeddings
    from edgeglass_diag.store.slices import Slices

_PATIENCE = 60.0
_NAME = 255
_WRITERS: weakref.WeakSet[RunWriter] = weakref.WeakSet()

NOT_BEGUN = "the watch was made and never entered"


class RunWriter:
    """Creates a run directory and appends to it. A thread waits while another one writes.

    Args:
        folder: of the run.
        name: of the run.
        header: what ``run.json`` says of it besides, ``rules`` among it: each ``ConfiguredRule`` as a dictionary.
        begun: whether the training runs; if not, the run stands as failed until ``begin``.
        resume: step at which the run in ``folder`` goes on; it is a new one where None, or where there is none yet.

    Raises:
        UsageError: when ``folder`` exists and is not empty (nothing is ever overwritten), cannot be written, or has a
            run that cannot go on: another process writes to it, or it is damaged.
        RuntimeError: in a copy of a process in which SQLite's locks may be held for ever.

    Attributes:
        cuts: where the run went on, the newest last.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        header: Mapping[str, object],
        begun: bool = True,
        resume: int | None = None,
    ) -> None:
        if not is_safe():
            raise RuntimeError("this process was copied while another thread of its parent wrote to a disk that hung")
        self.folder = fixed(folder)
        self._db: sqlite3.Connection | None = None
        self._slices: Slices | None = None
        self._record = RecordState()
        self.cuts: tuple[Cut, ...] = ()
        self._lock = threading.RLock()
        _WRITERS.add(self)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not any(self.folder.iterdir()):
                self._make(name, header, begun=begun)
            elif resume is None:
                raise UsageError(f"{folder} is not empty: a run needs a new folder, and nothing is overwritten")
            else:
                self._go_on(header, resume, begun=begun)
        except OSError as error:
            raise UsageError(f"cannot write a run to {folder}: {error.strerror or error}") from error
        except sqlite3.Error as error:
            raise UsageError(f"cannot write a run to {folder}: {error}") from error

    def _make(self, name: str, header: Mapping[str, object], *, begun: bool) -> None:
        status = RunStatus.RUNNING if begun else RunStatus.FAILED
        result = {} if begun else {"result": {"error": NOT_BEGUN}}
        self._header = {
            "format": FORMAT, "version": VERSION, "name": name[:_NAME], "created": time.time(), "pid": os.getpid(),
            "process": ProcessIdentity.own().as_facts(), "status": status, **result, **header,
        }  # fmt: skip
        self._state = StateFile(self.folder)
        create(self.folder)
        self._state.write(status, self._record)
        self._write_header()  # last: a folder with a header is a run that can be read

    def _go_on(self, header: Mapping[str, object], step: int, *, begun: bool) -> None:
        from edgeglass_diag.store import resuming

        if not (self.folder / FILE).is_file():
            raise UsageError(f"{self.folder} is not empty and has no run that could go on")
        self._state = StateFile(self.folder, again=True)
        try:
            kept = resuming.header_to_go_on(self.folder)
            self._record = replace(resuming.record_to_go_on(self.folder), taken=step)
        except BaseException:
            self._state.close()
            raise
        self._header = resuming.header_after(kept, header, step)
        self.cuts = resuming.cuts_of(self._header)
        if begun:
            self.begin()

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self._header["name"])

    @property
    def record(self) -> RecordState:
        """How the record stands, as noted last."""
        return self._record

    @property
    def has_ended(self) -> bool:
        """Return whether ``finish`` was called."""
        return "ended" in self._header

    def begin(self) -> None:
        """Note that the training runs.

        Raises:
            OSError: if it cannot be noted.
        """
        self._header["status"] = RunStatus.RUNNING
        self._header.pop("result", None)
        self._state.write(RunStatus.RUNNING, self._record)
        self._write_header()

    def write(self, window: Window, findings: Iterable[Finding] = (), *, earlier: Sequence[Window] = ()) -> None:
        """Append a window and all findings so far in one transaction.

        Args:
            window: the newest.
            findings: all so far.
            earlier: windows before it that are not written yet.

        Raises:
            OSError: if the run folder was removed or moved, or something in it cannot be written.
            sqlite3.Error: if the store cannot be written. Both may be tried again.
        """
        with self._locked():
            self._append(window, findings, earlier)

    def _append(self, window: Window, findings: Iterable[Finding], earlier: Sequence[Window]) -> None:
        if self.has_ended:
            raise OSError(errno.EBADF, "the record has ended", str(self.folder))
        self._check_place()
        if not self._state.is_open:  # nor are the descriptors of the store its own any more: it is not to close them
            keep_for_ever(self._db)
            self._db = self._slices = None
        try:
            if self._db is None:
                self._db = open_for_writing(self.folder)
            self._db.execute("BEGIN IMMEDIATE")
            slices = self._begun(self._db)
            for each in (*earlier, window):
                write_window(self._db, slices, each)
            write_findings(self._db, findings)
            slices.compact()
            self._db.execute("COMMIT")
        except BaseException:
            self._close_store()  # which rolls back; what is in memory of the store is forgotten with it
            raise

    def _check_place(self) -> None:
        if not self._state.is_in_place:
            raise FileNotFoundError(errno.ENOENT, "the run folder was removed or moved", str(self.folder))

    def _begun(self, db: sqlite3.Connection) -> Slices:
        """Made with the first window: a program decides itself when NumPy is imported, and in which environment."""
        from edgeglass_diag.store.slices import Slices

        self._slices = self._slices or Slices(db, ranks=int(str(self._header.get("world_size") or 1)))
        return self._slices

    def write_embeddings(self, step: int, image: Embeddings, text: Embeddings) -> None:
        """Keep the embeddings of the pairs of a step, (pairs, dims) each.

        Raises:
            OSError: if they cannot be written.
        """
        from edgeglass_diag.store.embeddings import write_embeddings

        self._check_place()
        write_embeddings(self.folder, step, image, text)

    def write_samples(self, step: int, samples: PairSamples) -> None:
        """Keep pictures and captions of the pairs of a step beside their embeddings.

        Raises:
            OSError: if they cannot be written.
        """
        from edgeglass_diag.store.samples import write_samples

        self._check_place()
        write_samples(self.folder, step, samples)

    def note(self, facts: Mapping[str, object]) -> None:
        """Add facts to ``run.json`` that were not known at the beginning.

        Raises:
            OSError: if it cannot be written.
        """
        self._header |= facts
        self._write_header()

    def note_state(self, status: RunStatus, record: RecordState) -> None:
        """Note how the record stands, which is a sign of life as well.

        Raises:
            OSError: if it cannot be written.
        """
        self._record = record
        self._state.write(status, record)

    def finish(self, status: RunStatus, result: Mapping[str, object], record: RecordState | None = None) -> None:
        """Close the store and note how the run ended: ``finished``, ``stopped`` or ``failed``; said once.

        Args:
            status: how it ended.
            result: what it reported.
            record: how the record stands; as noted last if None.

        Raises:
            OSError: if that cannot be noted; each of the files is tried.
        """
        with self._locked():
            self._finish(status, result, record or self._record)

    def _finish(self, status: RunStatus, result: Mapping[str, object], record: RecordState) -> None:
        if self.has_ended:
            return
        if self._state.is_open:
            self._close_store()
        self._header |= {"status": status, "ended": time.time(), "result": dict(result)}
        with ExitStack() as last:  # each of them is tried, and then the error raised
            last.callback(self._state.close)
            last.callback(self._write_header)
            last.callback(self._state.write, status, record)
            self._check_place()
            remove_journal(self.folder)
            self._header["store_crc32"] = file_checksum(self.folder / FILE)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """A block in which no other thread writes.

        Raises:
            OSError: if another one has been writing for a minute, as on a disk that hangs.
        """
        if not self._lock.acquire(timeout=_PATIENCE):
            raise OSError(errno.EBUSY, "another thread is writing", str(self.folder))
        try:
            yield
        finally:
            self._lock.release()

    def _write_header(self) -> None:
        self._check_place()  # else it is another run that lies there
        temporary = self.folder / "run.json.tmp"
        try:
            text = json.dumps(self._header, indent=1, default=str, ensure_ascii=False)
            temporary.write_bytes(text.encode("utf-8", "replace"))  # arguments may hold bytes that are no text
            temporary.replace(self.folder / "run.json")
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _close_store(self) -> None:
        db, self._db, self._slices = self._db, None, None
        if db is not None:
            db.close()


def _after_fork() -> None:
    """Leave the stores of the forked process alone: closing them here would undo what is being written there."""
    for writer in list(_WRITERS):
        keep_for_ever(writer._db)
        writer._db = writer._slices = None
        if hasattr(writer, "_state"):
            writer._state.close()  # a copy that lives on is not to hold the lock
        writer._lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
