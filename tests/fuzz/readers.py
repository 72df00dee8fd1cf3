"""All doors: a new reader is an entry here."""

from __future__ import annotations

from tests.fuzz.arrays import ARRAYS
from tests.fuzz.baselines import BASELINES
from tests.fuzz.binary_logs import BINARY_LOGS
from tests.fuzz.checkpoints import CHECKPOINTS
from tests.fuzz.data import DATA
from tests.fuzz.inputs import Reader
from tests.fuzz.logs import LOGS
from tests.fuzz.options import OPTIONS
from tests.fuzz.recipes import RECIPES
from tests.fuzz.runs import RUNS
from tests.fuzz.tracker_logs import TRACKER_LOGS

READERS: tuple[Reader, ...] = (
    *LOGS,
    *BINARY_LOGS,
    *TRACKER_LOGS,
    *ARRAYS,
    *CHECKPOINTS,
    *RECIPES,
    *OPTIONS,
    *BASELINES,
    *DATA,
    *RUNS,
)
