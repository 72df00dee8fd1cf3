"""Make the recorded logs of this folder with the trackers themselves: python record.py, with mlflow-skinny and trackio.

The databases are kept as SQL, without the tables that are not read; places and names of the machine are left out.
"""

import getpass
import math
import os
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROWS = [
    {
        "train/loss": round(2.3 * math.exp(-i / 6) + 0.1, 4),
        "val/loss": round(2.2 * math.exp(-i / 6) + 0.2, 4),
        "lr": 1e-3 * (1 - i / 12),
    }
    for i in range(12)
]


def with_mlflow(address: str) -> None:
    """Log a run to a tracking store."""
    import mlflow

    mlflow.set_tracking_uri(address)
    mlflow.set_experiment("shapes")
    with mlflow.start_run(run_name="small-cnn"):
        mlflow.log_params({"batch_size": 64, "lr": 1e-3, "optimizer": "adamw"})
        for index, row in enumerate(ROWS):
            mlflow.log_metrics(row, step=10 * index)
        mlflow.log_metric("val/loss", math.nan, step=120)


def with_trackio() -> None:
    """Log a run to a project."""
    import trackio

    trackio.init(project="shapes", name="small-cnn", config={"batch_size": 64, "lr": 1e-3})
    for row in ROWS:
        trackio.log(row)
    trackio.finish()


def dump(database: Path, tables: tuple[str, ...], file: Path, place: str) -> None:
    """Write some tables of a database as SQL."""
    db = sqlite3.connect(database)
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if name not in tables and not name.startswith("sqlite_"):
            db.execute(f'DROP TABLE "{name}"')
    text = "\n".join(line for line in db.iterdump() if "sqlite_sequence" not in line)
    file.write_text(anonymous(text, place) + "\n")


def anonymous(text: str, place: str) -> str:
    """Return a text without the folders and the user."""
    for folder in (place, os.getcwd()):
        text = text.replace(folder, "/runs")
    return re.sub(rf"\b{getpass.getuser()}\b", "user", text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "true", "TRACKIO_DIR": f"{place}/trackio"}
        with_mlflow(f"file://{place}/mlruns")
        with_mlflow(f"sqlite:///{place}/mlflow.db")
        with_trackio()
        dump(Path(place, "mlflow.db"), ("runs", "metrics", "params"), HERE / "mlflow.sql", place)
        dump(Path(place, "trackio/shapes.db"), ("metrics", "configs"), HERE / "trackio.sql", place)
        shutil.rmtree(HERE / "mlruns", ignore_errors=True)
        (run,) = (path.parent for path in Path(place, "mlruns").glob("*/*/meta.yaml"))
        for path in (run / "meta.yaml", *(file for part in ("metrics", "params") for file in (run / part).rglob("*"))):
            if path.is_file():
                kept = HERE / "mlruns" / "1" / path.relative_to(run.parent)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(anonymous(path.read_text(), place))
