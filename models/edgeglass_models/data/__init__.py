"""Image-caption pairs: rendered scenes, a user's own CSV, and frozen features of either."""
