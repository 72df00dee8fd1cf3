"""What a column means, by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from edgeglass_diag.records import UsageError

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "val", "evaluation": "val", "test": "test",
}  # fmt: skip
WAYS = {
    "i2t": "i2t", "t2i": "t2i", "image_to_text": "i2t", "text_to_image": "t2i", "img2txt": "i2t", "txt2img": "t2i",
    "image2text": "i2t", "text2image": "t2i", "img_to_txt": "i2t", "txt_to_img": "t2i", "im2txt": "i2t", "v2t": "i2t",
    "t2v": "t2i",
}  # fmt: skip
CONTRASTIVE = {"", "clip", "contrastive", "itc", "infonce", "nce", "mrl", "matryoshka", "total"}
"""First words of the losses that are a softmax over a batch of pairs, or may be."""
_ACCURACIES = {
    "accuracy", "acc", "batch_accuracy", "batch_acc", "in_batch_accuracy", "in_batch_acc", "contrastive_accuracy",
    "contrastive_acc", "clip_accuracy", "clip_acc",
}  # fmt: skip
_BEST = {"best": "best", "min": "best", "lowest": "best", "final": "final", "last": "final"}
_RECALL = re.compile(r"^(?:r|recall|hit|hits)(?:_?@_?|_at_|_)?(\d{1,9})$")
_ROLES = "loss, train_loss, val_loss_NAME, i2t_R@K, t2i_R@K, lr, logit_scale, temperature, accuracy, epoch, step, n"


@dataclass(frozen=True)
class Role:
    """What a column is.

    ``kind`` is loss, recall, lr, scale, temperature, accuracy, epoch, step, n or batch_size; ``part`` names the term of
    a loss, ``way`` and ``k`` the recall, ``summary`` is best or final where a column sums up another.
    """

    kind: str
    split: str = ""
    part: str = ""
    way: str = ""
    k: int = 0
    summary: str = ""
    percent: bool = False

    @property
    def contrastive(self) -> bool:
        """Whether a loss is a softmax over pairs as far as its name tells."""
        return self.kind == "loss" and self.part.split(" ")[0] in CONTRASTIVE


def recognise(name: str) -> Role | str | None:
    """The role of a column; words that say why it stays open where it nearly has one; None for any other.

    Example:
        >>> recognise("val/loss"), recognise("image_to_text_recall@5").k, recognise("gpu_memory")
        (Role(kind='loss', split='val', part='', way='', k=0, summary='', percent=False), 5, None)
    """
    clean = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", name).lower()
    percent = "%" in clean or "percent" in clean or "pct" in clean
    clean = re.sub(r"[/.\-\s:()\[\]%]+", "_", clean).strip("_")
    way = next((short for long, short in WAYS.items() if f"_{long}_" in f"_{clean}_"), "")
    for long in WAYS:
        clean = re.sub(f"(^|_){long}(?=_|$)", r"\1", clean)
    words = [word for word in clean.split("_") if word]
    split = next((SPLITS[word] for word in words if word in SPLITS), "")
    rest = [word for word in words if word not in SPLITS and word not in ("percent", "pct")]
    simple = _simple(rest)
    if simple is not None:
        return (
            replace(simple, split=split)
            if simple and not isinstance(simple, str) and simple.kind == "accuracy"
            else simple
        )
    recall = _recall(rest)
    if recall is not None:
        return recall if isinstance(recall, str) else replace(recall, split=split, way=way, percent=percent)
    return _loss(rest, split)


def _simple(words: list[str]) -> Role | str | None:
    joined = "_".join(words)
    if "lr" in words or joined.startswith("learning_rate") or joined.endswith("learning_rate"):
        return None if "loss" in words else Role("lr")
    if joined in ("logit_scale", "logit_scale_exp", "clip_logit_scale", "logitscale"):
        return Role("scale")
    if joined in ("temperature", "temp", "tau", "logit_temperature"):
        return Role("temperature")
    if joined in _ACCURACIES:
        return Role("accuracy")
    if joined == "scale":
        return "a logit scale or the loss scale of mixed precision"
    if joined in ("epoch", "epochs", "epoch_idx", "current_epoch"):
        return Role("epoch")
    if joined in ("step", "global_step", "steps", "iteration", "iter", "iterations", "trainer_global_step"):
        return Role("step")
    if joined in ("n", "n_pairs", "num_pairs", "gallery", "gallery_size", "n_val", "n_test", "num_samples"):
        return Role("n")
    return Role("batch_size") if joined in ("batch_size", "global_batch_size", "total_batch_size") else None


def _recall(words: list[str]) -> Role | str | None:
    for start in range(len(words)):
        found = _RECALL.match("_".join(words[start:]))
        if found is not None:
            return "R-squared or recall at 2" if words[start:] == ["r2"] else Role("recall", k=int(found[1]))
    return "a recall without its K" if "recall" in words else None


def _loss(words: list[str], split: str) -> Role | None:
    named = "loss" in words or "losses" in words
    if "scale" in words:  # of mixed precision
        return None
    if not named and not (split and words and words[0] in ("clip", "mrl", "contrastive", "itc")):
        return None
    summary = next((_BEST[word] for word in words if word in _BEST), "")
    part = " ".join(word for word in words if word not in ("loss", "losses", *_BEST))
    return Role("loss", split=split, part="" if part == "total" else part, summary=summary)


def parse_column(text: str) -> tuple[str, Role | None]:
    """Read ``ROLE=NAME`` into the column's name and its role; None for ``ignore``.

    Raises:
        UsageError: for any other form, or a role that is none.
    """
    role, equals, name = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--column: expected ROLE=NAME, got {text!r}")
    if role == "ignore":
        return name, None
    known = recognise(role)
    if not isinstance(known, Role):
        raise UsageError(f"--column {text}: expected a role such as {_ROLES} or ignore, got {role!r}")
    return name, known
