"""Pictures of pairs are kept by ``run``, and not with ``--no-samples``."""

import pytest

import edgeglass_diag as eg
from tests.helpers.program_runs import CLIP

PICTURED = (
    CLIP
    + """
    class Pictured(Clip):
        def forward(self, images, texts):
            return super().forward(images.flatten(1)[:, :6], texts)

    torch.manual_seed(0)
    train(Pictured(), 3, iter(lambda: (torch.randn(8, 3, 2, 2), torch.randn(8, 5)), None))
"""
)


@pytest.mark.parametrize(("own", "pictures"), [((), 8), (("--no-samples",), 0)])
def test_pictures_are_kept_unless_they_are_not_wanted(programs, own, pictures):
    programs.write("train.py", PICTURED)
    done = programs.copied("train.py", own=own)
    assert done.returncode == 0, done.stderr
    with eg.load(programs.folder / "run") as run:
        assert run.embedding_steps() == [0, 2]
        assert len(run.samples(2).pictures) == pictures
    assert len(list((programs.folder / "run").rglob("samples-*"))) == (2 if pictures else 0)
