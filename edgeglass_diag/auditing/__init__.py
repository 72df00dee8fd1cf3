"""Forensics on logged numbers alone: which of them cannot be true together, and what they imply."""
