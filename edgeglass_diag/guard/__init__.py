"""Guards an initialisation in tests: a pytest plugin, and hypothesis strategies."""
