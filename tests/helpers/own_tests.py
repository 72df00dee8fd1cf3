"""Rules that have a test file of their own."""

import importlib
from pathlib import Path


def codes_with_own_tests():
    """Return the codes of rules that a module of tests/rules names as its ``RULE``: it tries both cases itself."""
    names = [file.stem for file in (Path(__file__).parents[1] / "rules").glob("test_*.py")]
    modules = [importlib.import_module(f"tests.rules.{name}") for name in sorted(names)]
    return {module.RULE.code for module in modules if hasattr(module, "RULE")}
