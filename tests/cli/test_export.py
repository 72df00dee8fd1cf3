"""The verb ``export``: a line for each thing that is wrong, and where it wrote."""

import json
import re

import pytest

from edgeglass_diag import extras
from edgeglass_diag.commands import main
from edgeglass_diag.records import RunStatus
from edgeglass_diag.store import RunWriter
from tests.helpers.exported import recorded


@pytest.fixture
def export(monkeypatch, capsys, tmp_path):
    """Call the verb in a folder of its own; return exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["edgeglass-diag", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return call


def test_it_says_what_it_wrote_and_where(export, tmp_path):
    record = recorded(tmp_path / "mine")
    assert export(record, "--to", "csv") == (0, "mine: 36 readings, 3 findings: mine-csv\n", "")
    assert (tmp_path / "mine-csv" / "signals.csv").is_file()


def test_json_alone_on_stdout(export, tmp_path):
    record = recorded(tmp_path / "mine")
    status, out, _ = export(record, "--to", "parquet", "--out", "deep/there", "--json")
    written = {"name": "mine", "place": "deep/there", "readings": 36, "findings": 3, "embeddings": 0}
    assert status == 0
    assert json.loads(out) == {"to": "parquet", "runs": [written]}


def wrong(expected, *arguments, export):
    status, out, err = export(*arguments)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"edgeglass-diag: {expected}\n", err), err


def test_another_target(export, tmp_path):
    known = "parquet, csv, tensorboard, wandb, mlflow, trackio, embedding-atlas"
    wrong(f"--to: expected one of {known}, got 'excel'", tmp_path, "--to", "excel", export=export)


def test_a_package_that_is_missing(export, tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    expected = r"--to trackio needs trackio, which is not installed: pip install 'edgeglass-diag\[trackio\]'"
    wrong(expected, recorded(tmp_path / "mine"), "--to", "trackio", export=export)


def test_a_place_that_is_there(export, tmp_path):
    record = recorded(tmp_path / "mine")
    expected = "--out mine: expected a new folder, got what is there already; nothing is overwritten"
    wrong(expected, record, "--to", "parquet", "--out", "mine", export=export)


def test_a_run_without_anything_in_it(export, tmp_path):
    writer = RunWriter(tmp_path / "empty", name="empty", header={"rules": []})
    writer.finish(RunStatus.FINISHED, {})
    expected = ".*empty: expected a run with readings, got one in which nothing was recorded"
    wrong(expected, tmp_path / "empty", "--to", "csv", export=export)
    assert not (tmp_path / "empty-csv").exists()


def test_a_run_without_embeddings(export, tmp_path):
    record = recorded(tmp_path / "mine", embeddings=False)
    expected = ".*mine: expected a run that has kept embeddings, got one without any"
    wrong(expected, record, "--to", "embedding-atlas", export=export)


def test_what_is_no_run(export, tmp_path):
    wrong(".*nowhere.*", tmp_path / "nowhere", "--to", "csv", export=export)


def test_a_folder_that_cannot_be_made(export, tmp_path):
    record = recorded(tmp_path / "mine")
    (tmp_path / "file").touch()
    expected = "--to csv failed: (NotADirectoryError|FileExistsError): .*"
    wrong(expected, record, "--to", "csv", "--out", "file/below", export=export)
