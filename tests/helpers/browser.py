"""What the tests in a real browser wait for."""

import time

import pytest

from tests.helpers.waiting import PATIENCE

PLOT = "document.querySelector('#{} .js-plotly-plot')"


def has_text(page, selector, text):
    page.locator(selector, has_text=text).first.wait_for()


def eventually(page, condition):
    """Like ``page.wait_for_function``, which the page's security policy (no eval) does not let work."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never came true: {condition}")
