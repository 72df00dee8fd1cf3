"""What is written into files is read back by the readers of others, and equals the record."""

import json

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import edgeglass_diag as eg
from edgeglass_diag.exporting import export_run
from edgeglass_diag.pair_samples import NO_SAMPLES, PairSamples, Wording
from edgeglass_diag.sinks import TARGETS
from edgeglass_diag.store import RunWriter
from tests.helpers.exported import FINDINGS, assert_same, numbers, pairs, recorded


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("runs") / "mine")


def exported(record, name, out):
    with eg.load(record) as run:
        [written] = export_run(run, TARGETS[name], out)
    return written


def table_numbers(frame):
    """The numbers of a table by name and step."""
    heads = frame.signal.str.startswith("attention/")
    names = frame.signal + ("/" + frame.site).where(frame.site != "", "")
    names += ("/head" + frame.component.astype(str)).where(heads, "")
    return dict(zip(zip(names, frame.step, strict=True), frame.value, strict=True))


def check_findings(frame):
    """The findings of a table are those of the record, the worst first, their lists as JSON."""
    assert list(frame.code) == [finding.code for finding in FINDINGS]
    assert list(frame.message) == [finding.message for finding in FINDINGS]
    assert list(frame.step) == [finding.step for finding in FINDINGS]
    assert json.loads(frame.evidence[0]) == {"loss": "nan"}
    assert json.loads(frame.sites[1]) == ["a", "b"]


def test_parquet_equals_the_record(record, tmp_path):
    written = exported(record, "parquet", tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "signals.parquet")
    assert list(frame.columns) == ["step", "signal", "site", "component", "value"]
    assert_same(table_numbers(frame), numbers(record))
    check_findings(pd.read_parquet(tmp_path / "out" / "findings.parquet"))
    assert (written.readings, written.findings) == (36, 3)


def test_csv_equals_the_record(record, tmp_path):
    exported(record, "csv", tmp_path / "out")
    texts = {"signal": str, "site": str}
    frame = pd.read_csv(
        tmp_path / "out" / "signals.csv", keep_default_na=False, na_values={"value": "nan"}, dtype=texts
    )
    assert_same(table_numbers(frame), numbers(record))
    check_findings(pd.read_csv(tmp_path / "out" / "findings.csv"))


def test_tensorboard_equals_the_record_in_its_precision(record, tmp_path):
    exported(record, "tensorboard", tmp_path / "out")
    read = EventAccumulator(str(tmp_path / "out"), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0}).Reload()
    got = {(tag, event.step): event.value for tag in read.Tags()["scalars"] for event in read.Scalars(tag)}
    assert_same(got, {name: np.float32(value) for name, value in numbers(record).items()})
    heads = read.Histograms("histogram/attention/entropy/image.attention#1")[-1]
    assert (heads.step, heads.histogram_value.num, heads.histogram_value.max) == (10, 3, 0.625)
    gradients = read.Histograms("histogram/gradient/norm")[-1].histogram_value
    assert (gradients.min, gradients.max, sum(gradients.bucket)) == (1 / 3, 1.0, 2)
    [event] = read.Tensors("findings/EG101/image.attention#1")
    said = event.tensor_proto.string_val[0].decode()
    assert event.step == 5
    assert said == "**warning: EG101 uniform at image.attention#1**\n\nUniform attention: ü"


def test_captions_stand_beside_both_sides_of_their_pairs(tmp_path, capsys):
    folder = recorded(tmp_path / "run")
    writer = RunWriter(tmp_path / "other", name="other", header={})
    captions = tuple(f"a picture of {number} <b>things</b>" for number in range(12))
    samples = PairSamples(NO_SAMPLES.pictures, captions, Wording.TEXTS)
    for step in (0, 10):
        writer.write_embeddings(step, *pairs(step))
        writer.write_samples(step, samples)
    writer.finish("finished", {})
    exported(folder, "embedding-atlas", tmp_path / "none")
    assert pd.read_parquet(tmp_path / "none" / "embeddings.parquet").caption.isna().all()
    (tmp_path / "other" / "embeddings" / "samples-10.safetensors").write_bytes(b"broken")
    exported(tmp_path / "other", "embedding-atlas", tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "embeddings.parquet")
    assert frame[frame.step == 0].caption.tolist() == [*captions, *captions]
    assert frame[frame.step == 10].caption.isna().all()
    assert "samples-10.safetensors cannot be read" in capsys.readouterr().err


def test_embeddings_are_in_a_table_with_the_rank_of_the_partner(record, tmp_path):
    written = exported(record, "embedding-atlas", tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "embeddings.parquet")
    assert written.embeddings == 2
    for step in (0, 10):
        for side, vectors in zip(("image", "text"), pairs(step), strict=True):
            own = frame[(frame.step == step) & (frame.side == side)]
            np.testing.assert_array_equal(np.stack(list(own.embedding)), vectors)
            assert own.is_finite.tolist() == np.isfinite(vectors).all(1).tolist()
    collapsed = frame[(frame.step == 10) & (frame.side == "image") & frame.is_finite]
    assert set(collapsed["rank"]) == {11}, "all texts are as near as the partner"
    assert frame[~frame.is_finite]["rank"].isna().all()
    image, text = pairs(0)
    products = image[0] @ text.T / np.linalg.norm(image[0]) / np.linalg.norm(text, axis=1)
    assert frame["rank"][0] == (products > products[0]).sum()
    assert frame.cosine[0] == pytest.approx(products[0], rel=1e-5)
