"""Small files that once ended in a traceback, a hang or a silent number: now in one line, or in what they hold."""

import json
import shutil
from pathlib import Path

import pytest

from edgeglass_diag.auditing.readers import read
from edgeglass_diag.evaluation.sources import read_embeddings
from tests.fuzz.command_line import RefusedError, run
from tests.fuzz.data import scan_data
from tests.fuzz.inputs import Input
from tests.fuzz.outcomes import same

FILES = Path(__file__).parent / "broken"
SAID = {
    "denormal-loss.csv": None,
    "infinite-batch-size.csv": None,
    "duplicate-column.csv": r"expected each column once, got 'loss' as columns 2 and 3",
    "beyond-floats.csv": r":2: column 'loss': expected a number within the range of floats \(1.8e308\), got '1e400'",
    "thousands.csv": r":2: column 'loss': expected a number, got '1_000'",
    "nul.csv": r":2: column 'loss': expected a number, got '5\\x00'",
    "ragged.csv": r":2: expected 2 cells as in the header, got 3",
    "header-only.csv": r"expected a header line and at least one row, got 1 lines",
    "empty.csv": r"expected a header line and at least one row, got 0 lines",
    "latin-1.csv": r"expected text in UTF-8, or in UTF-16 with a byte order mark, got 'utf-8' codec",
    "huge-recall.csv": None,
    "utf-16.csv": None,
    "carriage-returns.csv": None,
    "trailing-commas.csv": None,
    "mark.json": None,
    "mixed-ends.jsonl": None,
    "400-digits.json": r"expected numbers within the range of floats \(1.8e308\), got 400 digits",
    "5000-digits.json": r"expected numbers within the range of floats \(1.8e308\), got 5000 digits",
    "beyond-floats.json": r"expected numbers within the range of floats \(1.8e308\), got 1e400",
    "deep.json": r"expected at most 64 mappings and lists within each other, got more",
    "deep-but-whole.json": r"expected at most 64 mappings and lists within each other, got more",
    "duplicate-key.json": r"expected each key once in an object, got 'loss' 2 times",
    "duplicate-key.jsonl": r":2: expected each key once in an object, got 'loss' 2 times",
    "two-ways-to-one-key.jsonl": r"expected one value for 'train/loss', got two: 1.0, 2.0",
    "400-digits.jsonl": r":1: expected numbers within the range of floats \(1.8e308\), got 400 digits",
    "nan-count.json": None,
    "recalls-out-of-order.json": None,
    "infinite-settings.json": None,
    "no-event.tfevents.1": r"expected an event file of TensorBoard, got: ",
    "empty.tfevents.1": r"expected an event file of TensorBoard, got",
    "length.tfevents.1": r"expected an event file of TensorBoard, got",
    "no-record.wandb": r"record 1: expected one of W&B, got: ",
    "deep-value.wandb": r"record 1: expected at most 64 mappings and lists within each other",
    "5000-digits.wandb": r"record 1: expected numbers within the range of floats \(1.8e308\), got 5000 digits",
    "token-error.npy": r"expected an array of numpy, got: ",
    "large-shape.npy": r"expected an array of numpy, got: mmap length is greater than file size",
    "negative-shape.npy": r"expected an array of numpy, got: ",
    "object.npy": r"expected an array of numpy, got: .*Python objects in dtype",
    "encrypted.npz": r"expected arrays of numpy, got: .*encrypted",
    "twice.npz": r"expected 'image' once, got it 2 times",
    "words.npz": r"expected arrays of numpy, got: EOF: reading magic string",
    "large-shape.npz": r"image: the shape \(1000000000000, 8\) has more numbers than the file",
    "lzma.npz": r"expected arrays of numpy, got: ",
    "uint16-index.npz": None,
    "float8.safetensors": None,
    "float4.safetensors": r"image: expected numbers, got float4",
    "overflow.safetensors": r"expected safetensors, got: ",
    "recipe-of-words.safetensors": r"expected a checkpoint of this training loop, got: a recipe that is no mapping",
    "twice.parquet": r"expected 'image' once, got it 2 times",
    "words-for-indices.parquet": r"image_index: expected an integer in each row, got null and none in 2 rows",
    "no-rows.parquet": r"expected at least one row, got none",
    "laughs.yaml": r"expected at most 10000 values with aliases written out, got \d+",
    "self.yaml": r":1: not valid YAML: an alias leads to itself",
    "merge-self.yaml": r":1: not valid YAML: an alias leads to itself",
    "deep.yaml": r":1: not valid YAML: expected at most 64 levels within each other, got more",
    "duplicate-key.yaml": r":3: not valid YAML: expected each key once, got 'name' twice",
    "tag.yaml": r":1: not valid YAML: could not determine a constructor for the tag .*os.system",
    "control.yaml": r"not valid YAML: unacceptable character #x0000",
    "date.yaml": r"not valid YAML: a value does not fit its tag: month must be in 1..12",
    "own-comparison.yaml": r"recipes: expected recipes of one run each, got the comparison own-comparison.yaml",
    "latents-of-400-digits.yaml": r":2: model.latents: input should be less than or equal to 1000000000, got 1000",
    "betas.yaml": r":18: optim.betas.1: input should be less than 1, got 31",
    "wide.yaml": r":2: model: .*make 2.1e\+11 weights, above 4e\+09",
    "tool-is-a-number.toml": r"\[tool\]: expected a table, got int",
    "tables.toml": r"\[tool.edgeglass-diag\]: expected a table, got list",
    "deep.toml": r"expected valid TOML, got: ",
    "400-digits.toml": r"EG301\] signal: expected a number up to 1.798e\+308 in size, got more digits",
    "nan.toml": r"EG301\] signal: expected a number up to 1.798e\+308 in size, got nan",
    "invalid.toml": r"expected valid TOML, got: ",
    "unhashable-id.coco.json": r"id of image number 1 is a list",
    "id-twice.coco.json": r"expected each id of images once; image number 2 has 1 again",
    "column-twice.data.csv": r"expected the column 'caption' once, got it 2 times",
    "histogram.data.parquet": r"expected a whole parquet file; got, .*histogram",
    "offsets.arrow": r"expected a whole arrow file; got, .*: ",
    "lengths.arrow": r"expected a whole arrow file; got, .*: ",
}  # fmt: skip
READ = {
    "denormal-loss.csv": {"val_loss": (5e-324,)},
    "infinite-batch-size.csv": {"val_loss": (4.85203,), "batch_size": (float("inf"),)},
    "huge-recall.csv": {"val_loss": (5.0,), "R@99999999999999999999": (0.1,)},
    "utf-16.csv": {"step": (1.0,), "val_loss": (4.5,)},
    "carriage-returns.csv": {"step": (1.0,), "val_loss": (4.5,)},
    "trailing-commas.csv": {"step": (1.0,), "val_loss": (4.5,)},
    "mark.json": {"step": (1.0,), "val_loss": (4.5,)},
    "mixed-ends.jsonl": {"step": (1.0, 2.0), "val_loss": (4.5, 4.0)},
    "nan-count.json": {"steps": (float("nan"),), "first": (1.0,), "last": (2.0,)},
    "recalls-out-of-order.json": {"val_loss": (0.1,), "i2t_R@1": (0.5,), "i2t_R@5": (2147483648.0,)},
    "infinite-settings.json": {"val_loss": (4.85203,)},
}
VERBS = {".npy": "eval", ".npz": "eval", ".safetensors": "eval", ".parquet": "eval", ".yaml": "check"}


def give(folder, name):
    """Give the file to the command that reads such files."""
    shutil.copy(FILES / name, folder / name)
    if name.endswith(".toml"):
        (folder / name).rename(folder / "pyproject.toml")
        return run(folder, Input(arguments=("check", "baseline")))
    if name.endswith(".arrow") or ".coco." in name or ".data." in name:
        return scan_data(folder, Input(arguments=(name,)))
    return run(folder, Input(arguments=(VERBS.get(Path(name).suffix, "audit"), name)))


@pytest.mark.parametrize("name", [name for name, said in SAID.items() if said is not None])
def test_a_broken_file_gives_one_line(tmp_path, name):
    with pytest.raises(RefusedError, match=SAID[name]):
        give(tmp_path, name)


@pytest.mark.parametrize("name", [name for name, said in SAID.items() if said is None])
def test_an_odd_file_gives_its_numbers(tmp_path, name):
    give(tmp_path, name)
    if name in READ:
        (logged,) = read(FILES / name)
        assert same({key: column for table in logged.tables for key, column in table.columns.items()}, READ[name])
    else:
        found = read_embeddings(FILES / name)
        assert (found.image.tolist(), found.image_of_text.tolist()) == ([[1, 0], [0, 1]], [1, 0])


def test_every_broken_file_is_tried():
    assert {file.name for file in FILES.iterdir()} == set(SAID)


def test_what_cannot_be_judged_is_named(tmp_path, capsys):
    from edgeglass_diag.auditing.report import audit

    for name, label in (("infinite-batch-size.csv", "batch_size"), ("infinite-settings.json", "setting batch_size")):
        (history,) = audit(FILES / name).histories
        assert "got inf" in history.open_columns[label]
        assert json.dumps(audit(FILES / name).as_dict(), allow_nan=False)
