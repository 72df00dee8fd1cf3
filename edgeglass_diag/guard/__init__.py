"""Tests that guard an initialisation: a pytest plugin, and hypothesis strategies."""
