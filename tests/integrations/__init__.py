"""The callbacks, with the real frameworks."""
