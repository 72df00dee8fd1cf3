from pathlib import Path

from edgeglass_diag.signals.document import signals_document


def test_the_page_of_signals_is_that_of_the_registry():
    file = Path(__file__).parents[2] / "docs" / "signals.md"
    assert file.read_text(encoding="utf-8") == signals_document()
