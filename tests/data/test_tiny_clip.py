import sys

from edgeglass_models.tiny_clip import WEIGHTS
from edgeglass_models.tiny_clip.evaluate import evaluate, main
from edgeglass_models.tiny_clip.train import train
from edgeglass_models.towers import load_tower


def test_shipped_weights_retrieve_unseen_scenes():
    recalls = evaluate(n=300)
    for direction in ("i2t", "t2i"):
        assert recalls[direction]["R@1"] > 0.8
        assert recalls[direction]["R@5"] > 0.97


def test_shipped_weights_are_small():
    assert (WEIGHTS / "open_clip_model.safetensors").stat().st_size < 16e6


def test_training_writes_a_model_that_loads(tmp_path, capsys):
    train(tmp_path, steps=2, seed=0, batch_size=4)
    tower = load_tower(str(tmp_path))
    assert tower.fingerprint != load_tower("tiny_clip").fingerprint
    assert sorted(file.name for file in tmp_path.iterdir()) == ["open_clip_config.json", "open_clip_model.safetensors"]


def test_table(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluate", "--n", "50"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| zero-shot, 50 unseen scenes | R@1 | R@5 | R@10 |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["image to text", "text to image"]
