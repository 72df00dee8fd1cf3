"""Vision-text alignment models, their data and recipes, and an ordinary training loop."""

from edgeglass_diag.extras import check_extra

check_extra("models", "a recipe")
