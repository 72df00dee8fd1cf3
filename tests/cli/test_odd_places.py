"""Names that stand for something else than the file or folder that a command expects: one line and exit status 2."""

import os
from importlib.metadata import EntryPoint

import pytest

from edgeglass_diag import provider_protocols
from edgeglass_diag.records import UsageError
from tests.fuzz.command_line import RefusedError, run
from tests.fuzz.inputs import Input
from tests.fuzz.options import odd_places

NAMES = (
    "folder",
    "folder.csv",
    "folder.npy",
    "folder.yaml",
    "pipe",
    "pipe.csv",
    "pipe.json",
    "zero.csv",
    "zero.npy",
    "broken-link",
    "/dev/zero",
    "/dev/stdin",
    "nowhere",
    "nowhere.csv",
    "nowhere.yaml",
    "a" * 300,
    f"{'a' * 300}.csv",
    f"{'a' * 300}.yaml",
    f"{'a' * 300}.py",
    "a\nb",
    "",
)
READERS = (
    ("audit", "NAME"),
    ("eval", "NAME"),
    ("findings", "NAME"),
    ("compare", "NAME", "NAME"),
    ("report", "NAME"),
    ("export", "NAME", "--to", "csv"),
    ("attribute", "NAME"),
    ("check", "NAME"),
    ("run", "NAME"),
    ("explain", "NAME"),
    ("profile", "NAME"),
)
WRITERS = (
    ("report", "run", "--out", "pipe.html"),
    ("report", "run", "--notebook", "pipe.ipynb"),
    *(
        (verb, "baseline", "--out", name)
        for verb in ("run", "profile")
        for name in ("pipe", "zero.csv", "/dev/full/x", "pipe/x")
    ),
    ("bench", "--out", "pipe"),
)
FAULT = r"expected a file|is not empty|cannot write a run|is not a folder"


@pytest.fixture
def places(tmp_path):
    odd_places(tmp_path)
    for suffix in (".html", ".ipynb"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
    return tmp_path


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_what_is_no_input_gives_one_line(places, words):
    for name in NAMES:
        arguments = [name if word == "NAME" else word for word in words]
        with pytest.raises(RefusedError) as caught:
            run(places, Input(arguments=arguments))
        assert "Traceback" not in str(caught.value), name


@pytest.mark.parametrize("words", WRITERS, ids=" ".join)
def test_what_cannot_be_written_gives_one_line(places, words):
    with pytest.raises(RefusedError, match=FAULT):
        run(places, Input(arguments=words))


def test_a_closed_file_is_named(places):
    (places / "closed.csv").write_text("step,loss\n1,5.0\n")
    (places / "closed.csv").chmod(0)
    if os.access(places / "closed.csv", os.R_OK):
        pytest.skip("this user reads everything")
    with pytest.raises(RefusedError, match=r"closed\.csv: cannot be read: Permission denied"):
        run(places, Input(arguments=("audit", "closed.csv")))


def test_click_says_its_faults_in_one_line(command):
    for arguments, said in (
        (("audit",), "Missing argument"),
        (("audit", "x.csv", "--batch-size", "x"), "--batch-size"),
        (("nothing",), "No such command"),
        (("findings", "x", "--nothing"), "No such option"),
    ):
        done = command(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert said in done.stderr


def test_no_words_show_the_help(command):
    done = command()
    assert done.returncode == 0
    assert "audit" in done.stdout


def test_recipes_that_cannot_be_imported_are_named(monkeypatch):
    broken = EntryPoint("mine", "no_such_module:jobs", "edgeglass_diag.recipes")
    monkeypatch.setattr(provider_protocols, "entry_points", lambda group: [broken])
    with pytest.raises(UsageError, match=r"recipes of no_such_module:jobs cannot be loaded: ModuleNotFoundError: "):
        provider_protocols.provider()
