"""The store gives back what it was given, whatever it is called and wherever it was cut short."""

from __future__ import annotations

import json
import math
import shutil
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgeglass_diag.guard.strategies import unusual_floats
from edgeglass_diag.records import Finding, ParameterOrigin, ParameterWrite, Reading, Severity, UsageError, Window
from edgeglass_diag.signals import metric
from edgeglass_diag.sites import ModuleSite
from edgeglass_diag.store import RunWriter, load

NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.lists(unusual_floats(), min_size=1, max_size=5).map(tuple)
READINGS = st.dictionaries(st.tuples(NAMES, NAMES.map(metric)), VALUES, max_size=6)
FINDINGS = st.lists(
    st.builds(
        Finding, st.sampled_from(["EG001", "EG301"]), NAMES, st.sampled_from(Severity), NAMES, st.integers(0, 9), NAMES,
        st.dictionaries(NAMES, st.integers() | NAMES, max_size=2), NAMES, st.none() | NAMES,
    ),
    max_size=3, unique_by=lambda f: f.key,
)  # fmt: skip


def bits(values):
    return [struct.pack("<f", v + 0.0) if v == v else b"nan" for v in values]  # SQLite knows no negative zero


def window(step, readings):
    return Window(step, tuple(Reading(step, site, signal, values) for (site, signal), values in readings.items()))


def written(folder, windows, findings=(), *, finish=True):
    writer = RunWriter(folder, name="r", header={})
    for step, readings in enumerate(windows):
        writer.write(window(step, readings), findings)
    if finish:
        writer.finish("finished", {})
    return writer


def signals(run):
    return [
        (reading.step, reading.site, reading.signal, bits(reading.values))
        for signal in run.signals
        for _, reading in run.readings(signal)
    ]


def expected(windows):
    return sorted(
        ((step, site, signal, bits(values)) for step, r in enumerate(windows) for (site, signal), values in r.items()),
        key=lambda row: (row[2], row[0]),
    )


@given(st.lists(READINGS, min_size=1, max_size=4), FINDINGS)
def test_everything_comes_back(windows, findings):
    with tempfile.TemporaryDirectory() as place:
        written(Path(place) / "run", windows, findings)
        with load(Path(place) / "run") as run:
            assert sorted(signals(run), key=repr) == sorted(expected(windows), key=repr)
            assert {f.key: f for f in run.findings} == {f.key: f for f in findings}
            assert run.windows == len(windows)
            assert run.last_step == len(windows) - 1


@given(st.lists(READINGS, min_size=1, max_size=4))
def test_what_a_killed_process_left_is_read(windows):
    with tempfile.TemporaryDirectory() as place:
        writer = written(Path(place) / "run", windows, finish=False)
        shutil.copytree(Path(place) / "run", Path(place) / "copy")  # as the disk is at this moment
        with load(Path(place) / "copy") as run:
            assert sorted(signals(run), key=repr) == sorted(expected(windows), key=repr)
        writer.finish("failed", {})


@given(st.lists(READINGS, min_size=1, max_size=4), FINDINGS, st.booleans(), st.floats(0, 1), st.integers(0, 7))
def test_a_bit_that_flipped_is_said_or_changes_nothing(windows, findings, finish, where, bit):
    with tempfile.TemporaryDirectory() as place:
        writer = written(Path(place) / "run", windows, findings, finish=finish)
        shutil.copytree(Path(place) / "run", Path(place) / "copy")
        file = Path(place) / "copy" / "signals.sqlite"
        content = bytearray(file.read_bytes())
        content[min(int(where * len(content)), len(content) - 1)] ^= 1 << bit
        file.write_bytes(content)
        with suppress(UsageError), load(Path(place) / "copy") as run:
            assert not finish, "a finished run has a checksum of the whole file"
            whole = expected(windows)
            assert all(row in whole for row in signals(run))
            assert {f.key for f in run.findings} <= {f.key for f in findings}
        if not finish:
            writer.finish("failed", {})


@given(NAMES, st.lists(st.integers(1, 99), max_size=3), unusual_floats(), st.booleans(), st.booleans())
def test_sites_and_origins_come_back(name, shape, std, random, partial):
    write = ParameterWrite("normal_", name, 3, 0.02, random=random, partial=partial)
    origin = ParameterOrigin(name, tuple(shape), std, (write, write))
    site = ModuleSite(path=name, parents=(name, "x"), detail=name, class_name=name)
    with tempfile.TemporaryDirectory() as place:
        writer = RunWriter(Path(place) / "run", name=name, header={"note": name})
        writer.write(Window(0, (), (site,), (origin,)))
        writer.finish("finished", {"r": name})
        with load(Path(place) / "run") as run:
            assert run.sites == [site]
            (back,) = run.origins
            assert (back.name, back.shape, back.writes) == (origin.name, origin.shape, origin.writes)
            assert bits([back.std]) == bits([std]) or math.isclose(back.std, std)
            assert run.name == name
            assert json.loads((Path(place) / "run" / "run.json").read_text())["result"] == {"r": name}
