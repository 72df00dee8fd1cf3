import pytest

from tests.helpers.git_repositories import OWN, GitRepository


@pytest.fixture(autouse=True)
def _no_settings_of_git(monkeypatch):
    """Leave out the settings of git of whoever runs the tests."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        monkeypatch.setenv(name, OWN[name])


@pytest.fixture
def repository(tmp_path):
    return GitRepository(tmp_path / "user")


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder
