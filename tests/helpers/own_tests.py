"""Rules that have a test file of their own."""

import importlib
from pathlib import Path


def codes_with_own_tests():
    """Return the codes of rules that a module of tests/rules names in its ``RULES``: it tries both cases itself."""
    names = [file.stem for file in (Path(__file__).parents[1] / "rules").glob("test_*.py")]
    modules = [importlib.import_module(f"tests.rules.{name}") for name in sorted(names)]
    return {rule.code for module in modules for rule in getattr(module, "RULES", ())}
