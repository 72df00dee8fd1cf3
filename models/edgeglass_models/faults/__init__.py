"""Faults and healthy variants of a small training, each a small named change."""
