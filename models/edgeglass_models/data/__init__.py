"""Image-caption pairs: rendered scenes or the user's own files, and frozen features of both."""
