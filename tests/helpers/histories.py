"""Histories as hypothesis draws them, and the plain list of readings that a store must give back."""

import math

from hypothesis import strategies as st

from edgeglass_diag.records import Reading, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.signals.attention import ATTENTION_ENTROPY
from edgeglass_diag.signals.losses import LOSS_TOTAL
from edgeglass_diag.store.layouts import pack

NUMBERS = st.one_of(
    st.floats(width=32),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]),
    st.floats(-1, 1, width=32),
)
NAMES = st.sampled_from(["", "a.b", "ü/ñ 漢字", "loss#0", "'; DROP TABLE names; --"])
SIGNALS = st.sampled_from([ATTENTION_ENTROPY, LOSS_TOTAL, metric("é")])


@st.composite
def readings(draw, step):
    width = draw(st.sampled_from([1, 1, 2, 4, 0]))
    # what stands alone keeps float64, vectors are float32
    number = st.one_of(NUMBERS, st.floats()) if width == 1 else NUMBERS
    return Reading(step, draw(NAMES), draw(SIGNALS), tuple(draw(st.lists(number, min_size=width, max_size=width))))


@st.composite
def histories(draw, *, most=14):
    """Windows whose steps mostly rise, with sites that come and go, change their heads, and occur twice."""
    windows, step = [], 0
    regular = draw(st.lists(readings(0), max_size=4))
    for _ in range(draw(st.integers(0, most))):
        step = max(0, step + draw(st.sampled_from([1, 1, 1, 10, 0, -3])))
        own = draw(st.lists(readings(step), max_size=3)) if draw(st.booleans()) else []
        same = [Reading(step, r.site, r.signal, tuple(draw(NUMBERS) for _ in r.values)) for r in regular]
        windows.append(Window(step, tuple(same + own)))
    return windows


def expected(windows, signal, *, site=None, after=0):
    """What ``Run.readings`` is to give, from the definition alone."""
    rows = [
        (seq, reading)
        for seq, window in enumerate(windows, start=1)
        for reading in window.readings
        if reading.signal == signal and seq > after and site in (None, reading.site)
    ]
    return sorted(rows, key=lambda row: (row[1].step, row[0]))


def same(one, other):
    """Whether readings are equal, bit by bit: NaN equals NaN, and 0.0 does not equal -0.0."""
    return [describe(row) for row in one] == [describe(row) for row in other]


def describe(row):
    seq, reading = row
    return seq, reading.step, reading.site, reading.signal, len(reading.values), repr(reading.values), pack([reading])
