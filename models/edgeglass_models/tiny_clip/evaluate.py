"""Zero-shot retrieval of tiny_clip on unseen scenes: python -m edgeglass_models.tiny_clip.evaluate --n 1000."""

import argparse
from pathlib import Path

import torch

from edgeglass_diag.measures.ranking import hits
from edgeglass_diag.measures.retrieval import place_pairs
from edgeglass_models.data.scenes import ScenePairs
from edgeglass_models.tiny_clip import WEIGHTS
from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()
import open_clip  # noqa: E402

_BATCH_SIZE = 100


@torch.inference_mode()
def evaluate(folder: Path = WEIGHTS, *, n: int = 1000) -> dict[str, dict[str, float]]:
    """Return recall at 1, 5 and 10 among `n` test scenes, as fractions.

    Returns:
        {"i2t": {"R@1": ..., "R@5": ..., "R@10": ...}, "t2i": {...}}: image to text and text to image.
    """
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    pairs = ScenePairs("test", n)
    images, texts = [], []
    for start in range(0, n, _BATCH_SIZE):
        batch = [pairs[i] for i in range(start, min(start + _BATCH_SIZE, n))]
        images.append(model.encode_image(torch.stack([transform(image) for image, _ in batch])))
        texts.append(model.encode_text(tokenizer([text for _, text in batch])))
    ways = zip(("i2t", "t2i"), place_pairs(torch.cat(images), torch.cat(texts)), strict=True)
    return {way: {f"R@{k}": float(hits(placed, k).mean()) for k in (1, 5, 10)} for way, placed in ways}


def main() -> None:
    """Read the command line, evaluate, and print a markdown table."""
    prog = "python -m edgeglass_models.tiny_clip.evaluate"
    parser = argparse.ArgumentParser(prog=prog, description="Zero-shot retrieval of tiny_clip on unseen scenes.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder that tiny_clip.train wrote")
    parser.add_argument("--n", type=int, default=1000, help="number of test scenes")
    options = parser.parse_args()
    recalls = evaluate(options.weights, n=options.n)
    print(f"| zero-shot, {options.n} unseen scenes | R@1 | R@5 | R@10 |\n| --- | --- | --- | --- |")
    for name, key in (("image to text", "i2t"), ("text to image", "t2i")):
        print(f"| {name} | " + " | ".join(f"{recall:.3f}" for recall in recalls[key].values()) + " |")


if __name__ == "__main__":
    main()
