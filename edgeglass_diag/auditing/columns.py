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
"""Those that may be of a contrastive loss; any other column with a word of ``_RIGHT`` is the accuracy of that name."""
_RIGHT = {"accuracy", "acc", "acc1", "top1", "prec1", "acc@1"}
_AVERAGED = {"step", "epoch", "avg", "average", "mean", "running", "smoothed", "ema", "iter"}
"""Words that say how a loss was averaged over rows, not which term it is."""
_CLASSICAL = {"ce", "bce", "nll", "xent", "mse", "mae", "cross_entropy", "cross entropy"}
_TIMES = {
    "timestamp", "time", "wall_time", "walltime", "runtime", "relative_time", "relative_time_process", "elapsed",
    "elapsed_time", "total_time",
}  # fmt: skip
_SPEED = re.compile(
    r"(?:^|_)(?:its?|iters?|iterations?|steps?|samples?|images?|imgs?|tokens?|toks?|examples?|pairs?|batches)"
    r"_(?:per_)?(?:s|sec|second)(?:_gpu)?$"
)
_DURATION = re.compile(
    r"^(?:(?:step|iter|iteration|batch)_(?:time|t|duration)|time_per_(?:step|iter|iteration|batch)"
    r"|(?:s|sec|secs|seconds|ms)_(?:per_)?(?:step|it|iter|iteration|batch))(?:_(?:s|sec|ms|seconds))?$"
)
_BEST = {"best": "best", "min": "best", "lowest": "best", "final": "final", "last": "final"}
_RECALL = re.compile(r"^(?:r|recall|hit|hits)(?:_?@_?|_at_|_)?(\d{1,9})$")
_ROLES = "loss, train_loss, val_loss_NAME, i2t_R@K, t2i_R@K, lr, logit_scale, temperature, accuracy, epoch, step, n"


@dataclass(frozen=True)
class Role:
    """What a column is.

    ``kind`` is loss, recall, lr, scale, temperature, accuracy, grad_norm, speed (a number per second), duration (of a
    step), time, epoch, step, n or batch_size; ``part`` names the term of a loss or what an accuracy or norm is of,
    ``way`` and ``k`` the recall, ``summary`` is best or final where a column sums up another.
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


@dataclass(frozen=True)
class Ambiguous:
    """A column that nearly has a role; ``readings`` says what it may be."""

    readings: str


def recognise(name: str) -> Role | Ambiguous | None:
    """The role of a column, what it may be where its name fits several, None for any other.

    Example:
        >>> recognise("val/loss"), recognise("image_to_text_recall@5").k, recognise("gpu_memory")
        (Role(kind='loss', split='val', part='', way='', k=0, summary='', percent=False), 5, None)
    """
    clean = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", name).lower()
    percent = "%" in clean or "percent" in clean or "pct" in clean
    clean = re.sub(r"[/.\-\s:()\[\]%]+", "_", clean).strip("_")
    clean = re.sub(r"_?dataloader_idx_\d+", "", clean)
    way = next((short for long, short in WAYS.items() if f"_{long}_" in f"_{clean}_"), "")
    for long in WAYS:
        clean = re.sub(f"(^|_){long}(?=_|$)", r"\1", clean)
    words = [word for word in clean.split("_") if word]
    split = next((SPLITS[word] for word in words if word in SPLITS), "")
    rest = [word for word in words if word not in SPLITS and word not in ("percent", "pct")]
    found = _simple(rest) or _measured(rest) or _recall(rest)
    if isinstance(found, Ambiguous):
        return found
    if found is None:
        return _loss(rest, split)
    if found.kind == "time" and split:  # how long a part took
        return None
    if found.kind == "recall":
        return replace(found, split=split, way=way, percent=percent)
    return replace(found, split=split, percent=percent) if found.kind in _SPLIT else found


_SPLIT = ("accuracy", "speed", "duration")


def _simple(words: list[str]) -> Role | Ambiguous | None:
    joined = "_".join(words)
    if "lr" in words or joined.startswith("learning_rate") or joined.endswith("learning_rate"):
        return None if "loss" in words else Role("lr")
    if joined == "scale":
        return Ambiguous("a logit scale or the loss scale of mixed precision")
    kind = next((kind for kind, names in _SIMPLE.items() if joined in names), None)
    return None if kind is None else Role(kind)


_SIMPLE = {
    "scale": {"logit_scale", "logit_scale_exp", "clip_logit_scale", "logitscale"},
    "temperature": {"temperature", "temp", "tau", "logit_temperature"},
    "accuracy": _ACCURACIES,
    "epoch": {"epoch", "epochs", "epoch_idx", "current_epoch"},
    "step": {"step", "global_step", "steps", "iteration", "iter", "iterations", "trainer_global_step"},
    "n": {"n", "n_pairs", "num_pairs", "gallery", "gallery_size", "n_val", "n_test", "num_samples"},
    "batch_size": {"batch_size", "global_batch_size", "total_batch_size"},
    "time": _TIMES,
}


def _measured(words: list[str]) -> Role | None:
    """Return an accuracy of a name, a gradient norm, or a speed."""
    joined = "_".join(words)
    if "loss" in words:
        return None
    if _SPEED.search(joined) or "throughput" in words:
        return Role("speed")
    if _DURATION.match(joined):
        return Role("duration")
    if ({"grad", "gradient", "gradients"} & set(words) and "norm" in words) or joined in ("gnorm", "gradnorm"):
        rest = [word for word in words if word not in _NORM]
        return None if {"max", "clip", "threshold"} & set(words) else Role("grad_norm", part=" ".join(rest))
    if _RIGHT & set(words):
        summary = next((_BEST[word] for word in words if word in _BEST), "")
        rest = [word for word in words if word not in _AVERAGED | _BEST.keys()]
        return Role("accuracy", part=" ".join(rest), summary=summary)
    return None


_NORM = {"grad", "gradient", "gradients", "norm", "gnorm", "gradnorm", "total", "global", "l2", "2", "0", *_AVERAGED}


def _recall(words: list[str]) -> Role | Ambiguous | None:
    for start in range(len(words)):
        found = _RECALL.match("_".join(words[start:]))
        if found is not None:
            return Ambiguous("R-squared or recall at 2") if words[start:] == ["r2"] else Role("recall", k=int(found[1]))
    return Ambiguous("a recall without its K") if "recall" in words else None


def _loss(words: list[str], split: str) -> Role | None:
    named = "loss" in words or "losses" in words or " ".join(words) in _CLASSICAL
    if "scale" in words:  # of mixed precision
        return None
    if not named and not (split and words and words[0] in ("clip", "mrl", "contrastive", "itc")):
        return None
    summary = next((_BEST[word] for word in words if word in _BEST), "")
    left = [word for word in words if word not in ("loss", "losses", *_BEST, *_AVERAGED)]
    part = "" if left == ["batch"] else " ".join(left)
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
