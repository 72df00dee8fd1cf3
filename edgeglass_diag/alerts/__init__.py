"""Findings to a webhook while a training runs."""
