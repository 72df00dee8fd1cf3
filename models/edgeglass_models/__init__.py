"""Vision-text alignment models, their data and recipes, and an ordinary training loop."""
