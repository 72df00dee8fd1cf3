"""Programs whose training loop is not ours, unmodified, each with a fault planted by its arguments. No torch.

``open_clip_train.main`` has an option for everything; of the others ``planted.py`` sets keywords of what they call.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.benchmarks.explain_cases import Case

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "models" / "edgeglass_models" / "exam" / "programs"
PLANTED = Path(__file__).parent / "planted"
ADAMW, HF, LIGHTNING = "--torch.optim.AdamW", "--transformers.TrainingArguments", "--lightning.Trainer"
SENTENCES = "--sentence_transformers.SentenceTransformerTrainingArguments"


@dataclass(frozen=True)
class Planted:
    """A fault in a program: its option, the healthy value where the program needs one, and the innocent differences."""

    program: str
    fault: str
    ill: tuple[str, str]
    innocent: Mapping[str, str]
    right: tuple[str, ...]
    helps: tuple[str, ...] = ()
    always: tuple[str, ...] = ()


OPEN_CLIP = """
    --model local-dir:tiny --train-data train.csv --dataset-type csv --csv-img-key filepath --csv-caption-key title
    --aug-cfg scale=(0.99,1.0) --batch-size 32 --epochs 8 --wd 0.1 --warmup 10 --grad-clip-norm 5.0 --workers 0
    --precision fp32 --save-frequency 0 --device cpu
"""
PREPARE = """
    from edgeglass_models.exam.programs.open_clip_csv import CONFIG, Path, json, large_shapes, save_tokenizer, write_csv
    write_csv(Path("train.csv"), *large_shapes(768, seed=0))
    save_tokenizer("tiny")
    Path("tiny/open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
"""

ALL = (
    Planted(
        "open_clip_train.main", "rate-far-too-large", ("--lr", "4"),
        {"--log-every-n-steps": "4", "--name": "again"},
        right=("optimizer.lr=0.1", "optimizer.lr=0.01", "optimizer.lr=0.001"), helps=("optimizer.warmup*",),
        always=tuple(OPEN_CLIP.split()),
    ),
    Planted(
        "clip_trainer.py", "clipping-far-too-low", (f"{HF}.max_grad_norm", "1e-10"),
        {f"{HF}.adam_beta2": "0.99", f"{HF}.disable_tqdm": "true"},
        right=("optimizer.unclipped",), helps=("optimizer.eps*",), always=(f"{HF}.max_steps", "80"),
    ),
    Planted(
        "lightning_clip.py", "eps-far-too-large", (f"{ADAMW}.eps", "100"),
        {f"{LIGHTNING}.log_every_n_steps": "5", f"{LIGHTNING}.max_epochs": "8"},
        right=("optimizer.eps*",), helps=("optimizer.lr=10",),
    ),
    Planted(
        "sentence_transformers_mnrl.py", "temperature-multiplied",
        ("--sentence_transformers.losses.MultipleNegativesRankingLoss.scale", "0.05"),
        {f"{SENTENCES}.logging_steps": "5", f"{SENTENCES}.adam_beta2": "0.99"}, right=("loss.temperature*",),
    ),
    Planted(
        "accelerate_clip.py", "decay-far-too-strong", (f"{ADAMW}.weight_decay", "200"),
        {f"{ADAMW}.eps": "2e-8", "--transformers.get_scheduler.num_warmup_steps": "12"},
        right=("optimizer.weight_decay=0",), helps=("optimizer.lr=0.1", "optimizer.lr=0.01"),
    ),
)  # fmt: skip
"""``right`` and ``helps`` were written down before anything was explained; x 0.001 came with that intervention."""


def other_cases() -> Iterator[Case]:
    """Return the planted faults, each by the arguments that differ and by its findings alone."""
    for planted in ALL:
        for form in ("arguments", "findings"):
            yield _case(planted, form)


def _case(planted: Planted, form: str) -> Case:
    is_module = planted.program == "open_clip_train.main"
    innocent = [word for pair in planted.innocent.items() for word in pair]
    start = () if is_module else (planted.program,)
    healthy = ("--lr", "4e-3", "--log-every-n-steps", "5", "--name", "first") if is_module else ()
    return Case(
        f"{planted.program}:{planted.fault}", form,
        ("-m", planted.program) if is_module else ("planted.py",),
        (*start, *planted.always, *planted.ill, *innocent), (*start, *planted.always, *healthy),
        lambda folder: _prepare(planted.program, folder),
        cause=planted.ill[0], right=planted.right, helps=planted.helps,
        surroundings={"PYTHONPATH": f"{PLANTED / 'surroundings'}:{ROOT / 'models'}"} if is_module else {},
    )  # fmt: skip


def _prepare(program: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    if program == "open_clip_train.main":
        subprocess.run([sys.executable, "-c", dedent(PREPARE)], cwd=folder, check=True, capture_output=True)
        return
    shutil.copy(PLANTED / "planted.py", folder)
    if program == "clip_trainer.py":
        from tests.programs.test_real_programs import TRAINER

        (folder / program).write_text(dedent(TRAINER))
    else:
        shutil.copy(PROGRAMS / program, folder)
