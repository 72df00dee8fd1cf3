"""Image-caption pairs: rendered scenes, a user's own files, and frozen features of either."""
