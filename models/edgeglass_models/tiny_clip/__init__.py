"""tiny_clip: a small CLIP in open_clip's own format, trained on scenes, its weights shipped with the package."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"

__all__ = ["WEIGHTS"]
