"""Findings beside the output of a program."""

import io

import pytest
from tqdm import tqdm

from edgeglass_diag.programs.announce import Announcer
from edgeglass_diag.records import Finding, Severity, Window

FINDING = Finding("EG301", "constant-embeddings", Severity.CRITICAL, "image", 7, "the image side", because_of="EG202")
LINE = "edgeglass-diag: CRITICAL EG301 constant-embeddings at step 7 (because of EG202): the image side"


@pytest.fixture
def stream():
    return io.StringIO()


def test_a_finding_is_one_line(stream):
    announcer = Announcer(stream)
    announcer.window(Window(7, ()), [FINDING])
    assert stream.getvalue() == ""
    announcer.silent = False
    announcer.window(Window(7, ()), [FINDING])
    assert stream.getvalue() == LINE + "\n"


def test_a_bar_is_cleared_before_and_drawn_again_after(stream):
    announcer = Announcer(stream)
    announcer.silent = False
    with tqdm(total=3, file=stream, ncols=60, mininterval=0) as bar:
        bar.update(1)
        announcer.window(Window(7, ()), [FINDING])
        lines = [line.split("\r")[-1] for line in stream.getvalue().split("\n")]
        assert lines[0] == LINE
        assert "1/3" in lines[1]


def test_a_stream_that_the_program_closed_is_no_error(stream):
    announcer = Announcer(stream)
    announcer.silent = False
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.write("what the announcer meets")
    announcer.window(Window(7, ()), [FINDING])
