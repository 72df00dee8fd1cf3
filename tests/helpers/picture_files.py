"""Writes the same pictures and captions in each real format, with the libraries that people write them with."""

import io
import json
import random

import datasets
import pyarrow
import webdataset
from PIL import Image
from pyarrow import parquet

CAPTIONS = {"red": ("a red one", "something red"), "green": ("green, plain",), "blue": ("blå", "null", "7 blues")}


def png(colour, size=(8, 6)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def many(count):
    """Different pictures, as bytes."""
    return [png((k % 256, k // 256, 9)) for k in range(count)]


def write_pictures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in CAPTIONS:
        (folder / f"{name}.png").write_bytes(png(name))
    return folder


def pairs():
    return [(name, text) for name, texts in CAPTIONS.items() for text in texts]


def write_csv(folder, name="pairs.csv", separator=",", header="image,caption"):
    write_pictures(folder / "pictures")
    rows = [f'pictures/{name}.png{separator}"{text}"' for name, text in pairs()]
    path = folder / name
    path.write_text("\n".join([header.replace(",", separator), *rows]) + "\n", encoding="utf-8")
    return path


def write_tsv(folder):  # as open_clip's training reads it
    return write_csv(folder, "pairs.tsv", "\t", "filepath,title")


def write_jsonl(folder):
    write_pictures(folder)
    lines = [{"image": f"{name}.png", "captions": list(texts)} for name, texts in CAPTIONS.items()]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder / "pairs.jsonl"


def write_parquet_of_bytes(folder):
    table = {"image": [png(name) for name, _ in pairs()], "caption": [text for _, text in pairs()]}
    parquet.write_table(pyarrow.table(table), folder / "bytes.parquet", row_group_size=2)
    return folder / "bytes.parquet"


def write_parquet_of_paths(folder):
    write_pictures(folder)
    table = {"image_path": [f"{name}.png" for name, _ in pairs()], "text": [text for _, text in pairs()]}
    parquet.write_table(pyarrow.table(table), folder / "paths.parquet")
    return folder / "paths.parquet"


def dataset():
    rows = {"image": [Image.open(io.BytesIO(png(name))) for name in CAPTIONS], "captions": list(CAPTIONS.values())}
    features = {"image": datasets.Image(), "captions": datasets.List(datasets.Value("string"))}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def write_parquet_of_datasets(folder):
    dataset().to_parquet(folder / "train-00000-of-00001.parquet")
    return folder / "train-00000-of-00001.parquet"


def write_saved_dataset(folder):
    dataset().save_to_disk(folder / "saved")
    return folder / "saved"


def write_coco(folder, captions=CAPTIONS, annotations="annotations/captions_val2017.json"):
    """COCO's layout: annotations/captions_val2017.json beside val2017/, annotations in any order."""
    write_pictures(folder / "val2017")
    images = [{"id": 7 + k, "file_name": f"{name}.png", "height": 6, "width": 8} for k, name in enumerate(captions)]
    notes = [
        {"id": 10 * k + i, "image_id": 7 + k, "caption": text}
        for k, texts in enumerate(captions.values())
        for i, text in enumerate(texts)
    ]
    notes.sort(key=lambda note: note["id"] % 10)
    path = folder / annotations
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "licenses": [], "images": images, "annotations": notes}))
    return path


def write_folder_csv(folder):
    write_pictures(folder)
    rows = [f'{name}.png,"{text}"' for name, text in pairs()]
    (folder / "metadata.csv").write_text("\n".join(["file_name,text", *rows]), encoding="utf-8")
    return folder


def write_folder_jsonl(folder):
    write_pictures(folder)
    lines = [json.dumps({"file_name": f"{name}.png", "caption": text}) for name, text in pairs()]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def write_shard(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for key, sample in enumerate(samples):
            writer.write({"__key__": f"{key:04d}", **sample})
    return path


def write_shards(folder):
    samples = [{"png": png(name), "txt": text} for name, text in pairs()]
    write_shard(folder / "shard-000.tar", samples[:2])
    write_shard(folder / "shard-001.tar", samples[2:])
    return folder / "shard-{000..001}.tar"


def write_shards_of_img2dataset(folder):
    for name, text in pairs():  # .txt and .json say the same; a metadata parquet stands beside
        write_shard(folder / f"{text}.tar", [{"png": png(name), "json": {"caption": text, "status": "success"}}])
    return folder / "*.tar"


FORMATS = [
    write_csv, write_tsv, write_jsonl, write_parquet_of_bytes, write_parquet_of_paths, write_parquet_of_datasets,
    write_saved_dataset, write_coco, write_folder_csv, write_folder_jsonl, write_shards, write_shards_of_img2dataset,
]  # fmt: skip


def shuffled(rows, seed=0):
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    return rows
