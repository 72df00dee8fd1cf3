"""check of package.module:build: what it may return, what is wrong, healthy models of others."""

import sys
from textwrap import dedent

import pytest

from edgeglass_diag.preflight import check_function
from edgeglass_diag.programs.targets import BuildFunction, Recipe, resolve
from edgeglass_diag.records import UsageError
from edgeglass_diag.rules import CATALOGUE, configure

RULES = configure(CATALOGUE, {})

SOURCE = """
    import torch
    import torch.nn.functional as F
    from edgeglass_models.torchvision_operators import define_missing_operators
    from torch import nn

    taken = []

    class Clip(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.text, self.spare = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(3, 3)

        def forward(self, images, texts):
            return F.normalize(self.image(images), dim=-1), F.normalize(self.text(texts), dim=-1)

    def trained(parameters):
        model = Clip()
        model.spare.requires_grad_(False)
        optimizer = torch.optim.SGD(parameters(model), 0.1)

        def step():
            left, right = model(torch.randn(8, 6), torch.randn(8, 5))
            F.cross_entropy(10 * left @ right.T, torch.arange(8)).backward()
            optimizer.step()
            taken.append(True)

        return model, optimizer, step

    def whole():
        return trained(lambda model: model.parameters())

    def half():
        return trained(lambda model: model.image.parameters())

    def loaded():
        def image_alone(model):
            model.text.load_state_dict(nn.Linear(5, 8).state_dict())
            return model.image.parameters()

        return trained(image_alone)

    def closure():
        model, optimizer, _ = whole()

        def loss():
            left, right = model(torch.randn(8, 6), torch.randn(8, 5))
            value = F.cross_entropy(10 * left @ right.T, torch.arange(8))
            value.backward()
            return value

        return model, optimizer, lambda: optimizer.step(loss)

    def alone():
        return Clip()

    def with_batch(settings):
        return Clip(), (torch.randn(8, 6), torch.randn(8, 5) * settings["scale"])

    def number():
        return 3

    def idle():
        return *whole()[:2], lambda: None

    def frozen():
        return nn.Linear(2, 2).requires_grad_(False), torch.ones(2, 2)

    def two(model, optimizer):
        return model

    def open_clip():
        define_missing_operators()
        import open_clip
        model = open_clip.CLIP(
            64,
            vision_cfg=dict(image_size=64, layers=2, width=128, patch_size=8, head_width=32),
            text_cfg=dict(context_length=20, vocab_size=100, width=64, heads=2, layers=2),
        )
        optimizer = torch.optim.AdamW(model.parameters())

        def step():
            image, text, scale = model(torch.randn(6, 3, 64, 64), torch.randint(1, 100, (6, 20)))[:3]
            F.cross_entropy(scale * image @ text.T, torch.arange(6)).backward()
            optimizer.step()

        return model, optimizer, step

    def transformers_clip():
        define_missing_operators()
        from transformers import CLIPConfig, CLIPModel
        sizes = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
        text = dict(**sizes, vocab_size=99, max_position_embeddings=20, eos_token_id=98)
        model = CLIPModel(CLIPConfig(
            projection_dim=32, vision_config=dict(**sizes, image_size=32, patch_size=8), text_config=text
        ))
        return model, dict(input_ids=torch.randint(0, 99, (5, 12)), pixel_values=torch.randn(5, 3, 32, 32), return_loss=True)

    def encoder():
        layer = nn.TransformerEncoderLayer(64, 4, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(4, 20, 64)
"""  # noqa: E501


@pytest.fixture(autouse=True)
def _source(tmp_path, monkeypatch):
    (tmp_path / "mine_to_check.py").write_text(dedent(SOURCE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("mine_to_check", None)


def checked(name, *settings):
    return check_function(f"mine_to_check:{name}", settings, RULES)


@pytest.mark.parametrize("name", ["whole", "closure"])
def test_a_step_is_looked_at_and_never_taken(name):
    found = checked(name)
    assert sys.modules["mine_to_check"].taken == []
    assert not found.findings
    report = found.as_dict()
    parameters = {p["name"]: p for p in report["parameters"]}
    assert parameters["image.weight"]["gradient"] > 0
    assert parameters["image.weight"]["writes"][-1]["default"]
    assert [parameters[n]["trainable"] for n in ("image.weight", "spare.weight")] == [True, False]
    assert report["loss"]["chance"] == pytest.approx(2.0794, abs=1e-3)
    assert report["never_called"] == ["spare"]


def test_a_parameter_that_no_optimizer_holds_is_a_warning():
    found = checked("half")
    (finding,) = found.findings
    assert (finding.code, finding.severity, finding.site) == ("EG003", "warning", "text.weight")
    assert finding.evidence["parameters"] == ["text.weight", "text.bias"]
    assert "4 parameters trainable, 2 frozen; no optimizer holds text.weight, text.bias." in found.verdict


def test_loaded_values_that_no_optimizer_holds_are_a_fact():
    (finding,) = checked("loaded").findings
    assert (finding.code, finding.severity) == ("EG003", "info")


def test_a_batch_is_called_with_settings():
    rms = {scale: checked("with_batch", f"scale={scale}").as_dict()["modules"] for scale in (1, 100)}
    small, large = (next(m["rms"] for m in rms[scale] if m["site"] == "text") for scale in (1, 100))
    assert large > 10 * small


def test_a_model_alone_shows_where_values_come_from_and_says_so():
    found = checked("alone")
    report = found.as_dict()
    assert [p["writes"][-1]["op"] for p in report["parameters"][:2]] == ["kaiming_uniform_", "uniform_"]
    assert report["attention"] == report["modules"] == report["never_called"] == []
    assert "Build gives no batch: only where initial values come from is shown." in report["verdict"]
    assert not found.findings


@pytest.mark.parametrize("name", ["open_clip", "transformers_clip", "encoder"])
def test_healthy_models_of_others_are_silent(name):
    found = checked(name)
    assert not found.findings
    assert found.inspection.attention
    for attention in found.inspection.attention:
        if attention.predicted_logit_std is not None:
            assert attention.logit_std == pytest.approx(attention.predicted_logit_std, rel=0.25)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("number", [], "expected it to return a model, (model, batch), or (model, optimizer, step); got int"),
        ("idle", [], "expected step() to call the optimizer's step; it returned without"),
        ("frozen", [], "expected a model with trainable parameters, Linear has none"),
        ("two", [], "expected a function of nothing or of its settings; it requires model, optimizer"),
        ("whole", ["lr=1"], "--set lr=1: mine_to_check:whole takes no settings"),
        ("with_batch", ["scale"], "--set scale: expected name=value"),
        ("nothing", [], "expected a function 'nothing' in mine_to_check; got nothing of that name"),
        ("taken", [], "expected a function 'taken' in mine_to_check; got list"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(name, settings, said):
    with pytest.raises(UsageError) as error:
        checked(name, *settings)
    assert said in str(error.value)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="no_such_thing:build: no module named 'no_such_thing' here or installed"):
        check_function("no_such_thing:build", [], RULES)


def test_what_reads_as_a_function():
    assert resolve(["package.module:build"]) == BuildFunction("package.module:build")
    assert all(isinstance(resolve([text]), Recipe) for text in ("perceiver", "a.yaml", "C:/x.yaml", "a:b:c"))
