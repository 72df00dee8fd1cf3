"""check of recipes: both variants of the incident, healthy ones, predictions beside what is measured."""

import json
import math

import pytest
import yaml
from PIL import Image

from edgeglass_diag.initcheck.summary import check_summary
from edgeglass_diag.preflight import check_recipe
from edgeglass_diag.records import UsageError
from edgeglass_diag.rules import CATALOGUE, configure
from edgeglass_models.recipes.loading import load_recipes
from edgeglass_models.recipes.starts import feature_shape
from edgeglass_models.towers import load_tower

RULES = configure(CATALOGUE, {})
NARROW = ["model.latent_width=64", "model.heads=4", "model.width=64", "model.mrl_dims=[64, 32]", "model.layers=2"]


def checked(target, *settings):
    return check_recipe(target, settings, RULES)


def codes(found):
    return {finding.code: finding.severity for finding in found.findings}


def test_latents_overwritten_behind_a_norm_are_a_fact_and_their_size_has_no_effect():
    found = checked("perceiver", *NARROW, "model.norm=pre_shared")
    assert codes(found) == {"EG001": "info"}
    assert "has no effect on these logits" in " ".join(found.verdict)
    first, second = (
        {a.site: a.logit_std for a in checked("perceiver", *NARROW, "model.norm=pre_shared", init).inspection.attention}
        for init in ("model.init=reported", "model.init=randn")
    )
    site = next(iter(first))
    assert first[site] == pytest.approx(second[site], rel=0.1)


def test_latents_of_std_002_without_a_norm_are_a_warning_with_the_measured_entropy():
    found = checked("perceiver", *NARROW, "model.norm=none")
    assert codes(found) == {"EG001": "info", "EG050": "warning"}
    warning = next(f for f in found.findings if f.code == "EG050")
    attention = found.inspection.attention[0]
    assert warning.site == attention.site
    assert warning.evidence["entropy"] == pytest.approx(attention.entropy, abs=1e-9)
    assert f"entropy {attention.entropy:.4f}" in warning.message
    assert attention.entropy > 0.9999
    assert attention.logit_std == pytest.approx(attention.predicted_logit_std, rel=0.15)
    assert 0.002 < attention.logit_std < 0.01


def test_the_same_without_a_norm_from_std_1_is_silent():
    assert codes(checked("perceiver", *NARROW, "model.norm=none", "model.init=randn")) == {}


def test_latents_all_alike_are_critical():
    found = checked("perceiver", *NARROW, "model.norm=none", "model.init=identical")
    assert codes(found)["EG051"] == "critical"
    assert "Rows that are all alike: image_head.resampler.latents." in found.verdict


@pytest.mark.parametrize("settings", [["model.init=trunc_normal", "model.norm=pre"], ["model.init=orthogonal"]])
def test_healthy_perceivers_are_silent(settings):
    assert codes(checked("perceiver", *NARROW, "model.norm=pre_shared", *settings)) == {}


def test_the_baseline_is_silent_and_its_report_is_whole():
    found = checked("baseline")
    assert codes(found) == {}
    report = json.loads(json.dumps(check_summary(found), allow_nan=False))
    parameters = {p["name"]: p for p in report["parameters"]}
    query = parameters["image_head.pool.query"]
    assert query["writes"][-1]["op"] == "trunc_normal_"
    assert query["writes"][-1]["file"].endswith("pooling.py")
    assert not query["overwritten"]
    assert all(p["trainable"] and p["in_optimizer"] and p["gradient"] > 0 for p in parameters.values())
    assert report["loss"]["chance"] == pytest.approx(1.25 * math.log(4))
    assert report["loss"]["value"] == pytest.approx(report["loss"]["unrelated"], rel=0.6)
    (attention,) = report["attention"]
    assert attention["logit_std"] == pytest.approx(attention["predicted_logit_std"], rel=0.2)
    signals = {m["site"]: m["sample_signal"] for m in report["modules"]}
    assert signals["image_head.project"] > 0.5


def test_both_writes_of_the_report_are_shown_with_their_places():
    report = check_summary(checked("perceiver", *NARROW))
    latents = next(p for p in report["parameters"] if p["name"] == "image_head.resampler.latents")
    assert latents["overwritten"]
    first, second = latents["writes"]
    assert (first["op"], second["op"], second["line"] - first["line"]) == ("randn", "normal_", 1)
    assert first["std"] == pytest.approx(1, rel=0.1)
    assert second["std"] == pytest.approx(0.02, rel=0.1) == latents["std"]


def test_published_scale_has_the_shapes_of_its_tower():
    (recipe,) = load_recipes("perceiver-vit-l-14")
    shape = feature_shape(recipe.tower)
    assert (shape.tokens, shape.image_width, shape.text_width) == (257, 1024, 768)


def test_shape_of_features_is_that_of_the_tower():
    (recipe,) = load_recipes("perceiver")
    tower = load_tower("tiny_clip")
    tokens = tower.image_tokens(tower.transform(Image.new("RGB", (8, 8)))[None])
    shape = feature_shape(recipe.tower)
    assert (shape.tokens, shape.image_width) == tokens.shape[1:]
    assert shape.text_width == tower.text_width


def test_a_yaml_file_is_checked_and_draws_what_its_run_draws(tmp_path):
    (recipe,) = load_recipes("baseline", ["model.width=16", "model.mrl_dims=[16, 8]", "seed=3"])
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    stds = [{o.name: o.std for o in checked(str(file)).inspection.origins} for _ in range(2)]
    assert stds[0] == stds[1]
    assert stds[0] != {o.name: o.std for o in checked(str(file), "seed=4").inspection.origins}


@pytest.mark.parametrize(
    ("target", "settings", "said"),
    [
        ("incident", [], "check incident: expected one run, got baseline, perceiver"),
        ("perciever", [], "unknown recipe 'perciever'"),
        ("perceiver", ["model.norm=post"], "--set model.norm=post"),
        ("baseline", ["tower.model=ViT-L-1"], "expected an open_clip architecture"),
    ],
)
def test_wrong_recipes_are_told_in_one_line(target, settings, said):
    with pytest.raises(UsageError) as error:
        checked(target, *settings)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
