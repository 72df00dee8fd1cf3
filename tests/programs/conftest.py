"""What the tests of programs share."""

import pytest

from tests.helpers.program_runs import Programs


@pytest.fixture
def programs(tmp_path, command_server):
    return Programs(tmp_path, command_server)
