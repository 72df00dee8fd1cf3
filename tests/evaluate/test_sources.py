"""Embeddings from files: each form, several captions, and every refusal in one line."""

import io
import pickle

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save_file

from edgeglass_diag.evaluation.sources import holds_embeddings, read_embeddings
from edgeglass_diag.records import UsageError


@pytest.fixture
def sides():
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(4, 3, generator=generator),
        torch.randn(6, 3, generator=generator),
        torch.tensor([0, 1, 1, 3, 2, 3]),
    )


def lists(side):
    return pyarrow.array(side.tolist(), type=pyarrow.list_(pyarrow.float32()))


def write(path, image, text, index):
    """One set of embeddings in the form that the suffix names."""
    match path.suffix:
        case ".npz":
            np.savez(path, image=image, text=text, image_index=index)
        case ".safetensors":
            save_file({"image": image, "text": text, "image_index": index}, path)
        case ".parquet":  # any integers name the images
            table = {"image": lists(image[index]), "text": lists(text), "image_index": index.numpy() * 10 - 5}
            parquet.write_table(pyarrow.table(table), path, row_group_size=2)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_every_form_gives_the_same(tmp_path, sides, suffix):
    path = write(tmp_path / f"some{suffix}", *sides)
    assert holds_embeddings(path)
    read = read_embeddings(path)
    for got, expected in zip((read.image, read.text, read.image_of_text), sides, strict=True):
        assert torch.equal(got, expected)


def test_npy_is_two_sides_of_pairs(tmp_path, sides):
    both = torch.stack([sides[1], -sides[1]]).numpy().astype(">f4")
    np.save(tmp_path / "both.npy", both)
    read = read_embeddings(tmp_path / "both.npy")
    assert torch.equal(read.image, sides[1])
    assert torch.equal(read.text, -sides[1])
    assert read.image_of_text.tolist() == [0, 1, 2, 3, 4, 5]


def test_pairs_need_no_index(tmp_path, sides):
    parquet.write_table(
        pyarrow.table({"image": lists(sides[1]), "text": lists(sides[1]), "url": ["x"] * 6}), tmp_path / "pairs.parquet"
    )
    assert read_embeddings(tmp_path / "pairs.parquet").image_of_text.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_missing_number_in_a_list_is_not_a_number(tmp_path, sides):
    broken = pyarrow.array([[1.0, None], [2.0, 3.0]])
    parquet.write_table(pyarrow.table({"image": broken, "text": broken}), tmp_path / "some.parquet")
    assert read_embeddings(tmp_path / "some.parquet").image.isnan().tolist() == [[False, True], [False, False]]


def test_bfloat16_is_read(tmp_path, sides):
    save_file({"image": sides[0].bfloat16(), "text": sides[0].bfloat16()}, tmp_path / "half.safetensors")
    assert torch.equal(read_embeddings(tmp_path / "half.safetensors").image, sides[0].bfloat16())


def test_a_checkpoint_is_not_taken_for_embeddings(tmp_path, sides):
    save_file({"model.weight": sides[0]}, tmp_path / "step-1.safetensors", metadata={"recipe": "{}"})
    assert not holds_embeddings(tmp_path / "step-1.safetensors")
    assert not holds_embeddings(tmp_path / "other.pt")


class Bomb:
    """Unpickling it is an error that the tests would see."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def bombed(path):
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)


def plain_pickle(path):
    path.write_bytes(pickle.dumps(Bomb()))


def bombed_npz(path):
    np.savez(path, image=np.array([Bomb()], dtype=object), text=np.ones((1, 2)))


def arrow(**columns):
    return lambda path: parquet.write_table(pyarrow.table(columns), path)


def arrays(**parts):
    return lambda path: np.savez(path, **parts)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


ONES = np.ones((3, 2), dtype=np.float32)
ROWS = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("x.npy", bombed, "Python objects in dtype"),
        ("x.npy", plain_pickle, "magic string"),
        ("x.npz", bombed_npz, "allow_pickle=False"),
        ("x.npy", lambda p: p.write_bytes(b""), "x.npy: "),
        ("x.npz", lambda p: p.write_bytes(b"PK\x03\x04"), "x.npz: "),
        ("x.parquet", lambda p: p.write_bytes(b"none"), "x.parquet: "),
        ("x.npy", lambda p: np.save(p, ONES), r"one array of shape \(2, N, D\), got \(3, 2\)"),
        ("x.npy", lambda p: np.save(p, np.ones((3, 5, 2))), r"\(2, N, D\), got \(3, 5, 2\)"),
        ("x.npy", lambda p: np.save(p, np.ones((2, 5, 2), int)), "image: expected floats.*got int64"),
        ("x.npy", lambda p: np.save(p, np.ones((2, 0, 2))), r"with N, D > 0, got float64 of shape \(0, 2\)"),
        ("x.npy", lambda p: np.save(p, np.full((2, 1, 1), "a")), "image: expected numbers of at most 64 bits, got <U1"),
        ("x.npz", lambda p: p.write_bytes(npy(ONES)), "not a zip file"),
        (
            "x.npz",
            arrays(text=ONES, foo=ONES),
            "has no 'image': expected image, text and optionally image_index, got foo, text",
        ),
        ("x.npz", arrays(image=ONES), "has no 'text'"),
        ("x.npz", arrays(image=ONES, text=np.ones((3, 4))), "expected equal widths, got 2 and 4"),
        (
            "x.npz",
            arrays(image=ONES, text=np.ones((5, 2))),
            "expected one for 3 images and 5 captions, got none",
        ),
        ("x.npz", arrays(image=ONES, text=ONES, image_index=[0, 1]), r"each of 3 captions, got int64 of shape \(2,\)"),
        ("x.npz", arrays(image=ONES, text=ONES, image_index=[0.0, 1, 2]), "one integer for each.*got float64"),
        ("x.npz", arrays(image=ONES, text=ONES, image_index=[0, 1, 3]), "expected 0 to 2, got 0 to 3"),
        ("x.npz", arrays(image=ONES[0], text=ONES[0]), r"image: expected floats.*got float32 of shape \(2,\)"),
        ("x.npz", arrays(image=np.float32(1), text=np.float32(1)), r"image: expected floats.*of shape \(\)"),
        ("x.safetensors", lambda p: save_file({"image": torch.ones(1, 1)}, p), "has no 'text'"),
        ("x.parquet", arrow(image=ROWS), "has no 'text'"),
        ("x.parquet", arrow(image=[1.0], text=[2.0]), "image: expected a column of lists of floats, got double"),
        ("x.parquet", arrow(image=ROWS, text=[[1.0], [1.0, 2.0]]), "text: expected lists of one length, got 1 to 2"),
        (
            "x.parquet",
            arrow(image=ROWS, text=[[1.0, 2.0], None]),
            "text: expected a list in each row, got none in 1 of 2",
        ),
        (
            "x.parquet",
            arrow(image=ROWS, text=ROWS, image_index=[1, None]),
            "an integer in each row, got int64 and none in 1 rows",
        ),
        ("x.npz", lambda p: None, "no such file"),
    ],
)
def test_unusable_files_raise_one_line(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(UsageError, match=message) as caught:
        read_embeddings(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreadable_safetensors_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"none")
    with pytest.raises(UsageError, match=r"x\.safetensors: expected safetensors, got: "):
        holds_embeddings(tmp_path / "x.safetensors")
