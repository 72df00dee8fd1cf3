"""What columns mean by their names."""

import pytest

from edgeglass_diag.auditing.columns import Role, recognise


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("loss", Role("loss")),
        ("val/loss", Role("loss", split="val")),
        ("mrl_loss_512", Role("loss", part="mrl 512")),
        ("val/clip", Role("loss", split="val", part="clip")),
        ("valLoss", Role("loss", split="val")),
        ("i2t_R@1", Role("recall", way="i2t", k=1)),
        ("image_to_text_recall@5", Role("recall", way="i2t", k=5)),
        ("val/t2i/R@10", Role("recall", split="val", way="t2i", k=10)),
        ("i2t R@1 (%)", Role("recall", way="i2t", k=1, percent=True)),
        ("learning_rate", Role("lr")),
        ("lr-AdamW/pg1", Role("lr")),
        ("best_val_loss", Role("loss", split="val", summary="best")),
        ("logit_scale", Role("scale")),
        ("_step", Role("step")),
        ("loss_scale", None),
        ("gpu_memory", None),
        ("timestamp", Role("time")),
        ("train_runtime", None),
        ("train_loss_epoch", Role("loss", split="train")),
        ("val_loss/dataloader_idx_0", Role("loss", split="val")),
        ("eval_accuracy", Role("accuracy", split="val")),
        ("imagenet-zeroshot-val-top1", Role("accuracy", split="val", part="imagenet zeroshot top1")),
        ("grad_norm", Role("grad_norm")),
        ("grad_2.0_norm_total", Role("grad_norm")),
        ("max_grad_norm", None),
        ("train_samples_per_second", Role("speed", split="train")),
        ("it/s", Role("speed")),
        ("step_time", Role("duration")),
    ],
)
def test_columns_by_name(name, role):
    assert recognise(name) == role
