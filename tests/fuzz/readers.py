"""All doors: a new reader is an entry here."""

from __future__ import annotations

from tests.fuzz.arrays import ARRAYS
from tests.fuzz.data import DATA
from tests.fuzz.inputs import Reader
from tests.fuzz.logs import LOGS
from tests.fuzz.runs import RUNS
from tests.fuzz.settings import SETTINGS

READERS: tuple[Reader, ...] = (*LOGS, *ARRAYS, *SETTINGS, *DATA, *RUNS)
