"""An edit of any of a program's Python files is seen; what is not the program's is not."""

import pytest

from edgeglass_diag.replaying.sources import sources_of


@pytest.fixture
def program(tmp_path):
    for name in ("train.py", "model/head.py", "venv/pyvenv.cfg", "venv/lib/torch.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    return tmp_path


@pytest.mark.parametrize("name", ["train.py", "model/head.py", "model/new.py"])
def test_an_edit_is_seen(program, name):
    before = sources_of(str(program))
    (program / name).write_text("second")
    assert sources_of(str(program)) != before


@pytest.mark.parametrize("name", ["venv/lib/torch.py", "notes.txt", ".git.py/x.py", "why/a.replay/x.py"])
def test_what_is_not_the_programs_is_passed_over(program, name):
    before = sources_of(str(program))
    (program / name).parent.mkdir(parents=True, exist_ok=True)
    (program / name).write_text("second")
    assert sources_of(str(program)) == before
