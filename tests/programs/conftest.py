"""What the tests of programs share."""

import pytest
from program_runs import Programs


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path)
