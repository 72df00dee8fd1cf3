"""The command line as its user meets it: real processes, real recipes, bad input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from tests.helpers.command_server import command_line
from tests.helpers.waiting import until_step

SMALL = {
    "name": "small",
    "data": {"train": 96, "val": 40, "test": 50},
    "model": {
        "pooling": "perceiver", "width": 16, "mrl_dims": [16, 8],
        "latent_width": 16, "latents": 4, "layers": 1, "heads": 2,
    },
    "optim": {"lr": 1e-3},
    "train": {"batch_size": 32, "epochs": 2, "validate_every": 3},
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("feature_cache")


@pytest.fixture
def recipe(tmp_path):
    def write(name="small.yaml", **sections):
        content = {**SMALL}
        for section, values in sections.items():
            content[section] = {**content.get(section, {}), **values} if isinstance(values, dict) else values
        (tmp_path / name).write_text(yaml.safe_dump(content))
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def finished(tmp_path_factory, feature_cache, command):
    """A small finished run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    done = command("run", folder / "small.yaml", "--out", folder / "run", "--json")
    assert done.returncode == 0, done.stderr
    return folder / "run", json.loads(done.stdout)


def test_help_imports_nothing_heavy():
    """Measured in what is imported: torch alone takes longer than all the rest of the command line."""
    heavy = "torch numpy pandas plotly dash sklearn scipy open_clip"
    code = f"""
import sys
from importlib.metadata import entry_points
(main,) = entry_points(group="console_scripts", name="edgeglass-diag")
sys.argv = ["edgeglass-diag", "--help"]
try:
    main.load()()
except SystemExit as ending:
    assert not ending.code
print("imported:", *[name for name in "{heavy}".split() if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Train under observation" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported:"


@pytest.mark.parametrize(
    "module",
    [
        "edgeglass_diag",
        "edgeglass_diag.store",
        "edgeglass_diag.rules",
        "edgeglass_diag.commands",
        "edgeglass_dashboards.app",
    ],
)
def test_importing_stays_light(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_reports_what_the_agreement_says(finished):
    (run,) = finished[1]["runs"]
    assert {
        "name",
        "out",
        "status",
        "seconds",
        "train_loss",
        "val_loss",
        "i2t",
        "t2i",
        "n",
        "chance",
        "findings",
    } <= set(run)
    assert run["status"] == "finished"
    assert run["n"] == 50
    single = {"R@1": 0.02, "R@5": 0.1, "R@10": 0.2}
    assert run["chance"] == {**single, "i2t": pytest.approx(single), "t2i": single}
    assert set(run["i2t"]) == {"R@1", "R@5", "R@10"}
    for finding in run["findings"]:
        assert set(finding) == {
            "code", "name", "severity", "site", "step", "message", "evidence", "fix", "because_of", "sites", "since",
            "learned_since", "place", "focus", "early_until", "mark", "mark_by",
        }  # fmt: skip


def test_the_overwritten_latents_are_named_with_both_lines(finished):
    source = Path(__import__("edgeglass_models.perceiver", fromlist=["x"]).__file__)
    lines = source.read_text().splitlines()
    first = next(i for i, line in enumerate(lines, 1) if "nn.Parameter(torch.randn(latents, width))" in line)
    (finding,) = [f for f in finished[1]["runs"][0]["findings"] if f["code"] == "EG001"]
    assert finding["evidence"]["first"]["line"] == first
    assert finding["evidence"]["last"]["line"] == first + 1
    assert f"{source}:{first}" in finding["message"]


def test_findings_compare_and_eval_read_the_run(finished, command):
    folder, report = finished
    found = json.loads(command("findings", folder, "--json").stdout)
    assert found == report["runs"][0]["findings"]
    assert "EG001" in command("findings", folder).stdout
    assert command("findings", folder, "--fail-on", "critical").returncode == 0
    compared = json.loads(command("compare", folder, folder, "--json").stdout)
    assert compared["first_divergence"] is None
    result = json.loads(command("eval", folder, "--json").stdout)
    assert {k: result["i2t"][k] for k in ("R@1", "R@5", "R@10")} == report["runs"][0]["i2t"]
    assert result["split"] == "test"
    assert set(result["mrl"]) == {"16", "8"}
    assert set(result["geometry"]["effective_rank"]) == {"image", "text"}


@pytest.mark.long
def test_a_checkpoint_is_evaluated_as_its_run(finished, command):
    folder, _ = finished
    (file,) = folder.glob("checkpoints/*.safetensors")
    of_run = json.loads(command("eval", folder, "--json", "--split", "val").stdout)
    assert of_run["split"] == "val"
    assert of_run["n_images"] == 40
    assert json.loads(command("eval", file, "--json", "--split", "val").stdout) == of_run


def test_rules_are_listed_and_explained(command):
    listed = json.loads(command("rules", "--json").stdout)
    assert {"code", "name", "severity", "of", "summary", "threshold", "source", "fix", "judged"} == set(listed[0])
    assert {entry["code"]: entry["of"] for entry in listed}.items() >= {"EG301": "run", "EG450": "audit"}.items()
    assert "by edgeglass-diag audit alone" in command("rules", "EG653").stdout
    assert "s^2 x signal / 2 <= ``nats``" in command("rules", "EG301").stdout
    assert command("rules", "EG999").returncode == 2
    assert command("rules", "eg052").stdout.startswith("EG103 ")


def one_line(done):
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_unknown_recipe_is_named_with_a_close_one(command, tmp_path):
    error = one_line(command("run", "basline", "--json", cwd=tmp_path))
    assert "unknown recipe 'basline'" in error
    assert "did you mean 'baseline'?" in error
    assert list(tmp_path.iterdir()) == []


def test_bad_yaml_names_the_line(command, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\nmodel: [1,\n")
    assert "bad.yaml:3: not valid YAML" in one_line(command("run", tmp_path / "bad.yaml"))
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "expected a mapping of settings, got list" in one_line(command("run", tmp_path / "list.yaml"))


def test_a_wrong_key_or_type_names_itself_file_and_line(command, recipe):
    file = recipe(optim={"lr": 1e-3, "wieght_decay": 0.1})
    line = 1 + next(i for i, text in enumerate(file.read_text().splitlines()) if "wieght_decay" in text)
    error = one_line(command("run", file))
    assert f"small.yaml:{line}: unknown key 'optim.wieght_decay'; did you mean 'weight_decay'?" in error
    file = recipe(optim={"lr": "fast"})
    assert re.search(r"small\.yaml:\d+: optim\.lr: .*number.*, got 'fast'", one_line(command("run", file)))


def test_a_wrong_override_names_itself(command, recipe):
    assert "--set optim.lrr=1: unknown key 'optim.lrr'" in one_line(command("run", recipe(), "--set", "optim.lrr=1"))
    assert "expected section.key=value" in one_line(command("run", recipe(), "--set", "optim.lr"))


def test_missing_weights_and_data_are_named(command, recipe, tmp_path):
    error = one_line(command("run", recipe(), "--set", "tower.model=ViT-B-33", "--out", tmp_path / "out"))
    assert "ViT-B-33" in error
    error = one_line(command("run", recipe(), "--set", "tower.model=ViT-B-32", "--set", "tower.pretrained=no.pt"))
    assert "no.pt" in error
    error = one_line(command("run", recipe(), "--set", f"data.path={tmp_path / 'none.csv'}", "--out", tmp_path / "out"))
    assert "none.csv" in error
    assert not (tmp_path / "out").exists()


def test_an_existing_run_is_never_overwritten(finished, command, recipe):
    folder, _ = finished
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert "nothing is overwritten" in one_line(command("run", recipe(), "--out", folder))
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_an_out_folder_that_cannot_be_is_named(command, recipe, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file" in one_line(command("run", recipe(), "--out", tmp_path / "file" / "run"))
    assert "file" in one_line(command("run", recipe(), "--out", tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("verb", ["findings", "compare", "eval"])
def test_folders_that_are_no_runs_are_refused(command, tmp_path, verb):
    places = [tmp_path / "gone", tmp_path]
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"format": "something else"}')
    places.append(tmp_path / "foreign")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    places.append(tmp_path / "broken")
    for place in places:
        arguments = [place, place] if verb == "compare" else [place]
        one_line(command(verb, *arguments))


def test_wrong_choices_are_named(command, recipe):
    assert "--fail-on: expected warning or critical, got 'bad'" in one_line(
        command("run", recipe(), "--fail-on", "bad")
    )
    assert "--stop-on: no rule 'EG000'" in one_line(command("run", recipe(), "--stop-on", "EG000"))
    assert "begins with 'XX'" in one_line(command("run", recipe(), "--select", "XX"))


def test_a_run_can_stop_and_fail_on_a_finding(command, recipe, tmp_path):
    out = tmp_path / "stopped"
    done = command("run", recipe(train={"epochs": 20}), "--out", out, "--stop-on", "EG001", "--json")
    (run,) = json.loads(done.stdout)["runs"]
    assert run["status"] == "stopped"
    assert "EG001" in run["error"]
    assert run["last_step"] < 59


def run_until_signal(recipe, out, number):
    """Run a recipe, and send a signal to this process once eight steps are recorded."""

    def send():
        until_step(Path(out), 8)
        os.kill(os.getpid(), number)

    # A test run in the background of a shell ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=send, daemon=True).start()
    command_line("run", recipe, "--out", out, "--json")


def test_a_killed_run_can_be_read(recipe, tmp_path, command, command_server):
    file = recipe(train={"epochs": 20000})
    ended = command_server.call(run_until_signal, str(file), str(tmp_path / "run"), int(signal.SIGKILL))
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    found = json.loads(command("findings", tmp_path / "run", "--json").stdout)
    assert [f["code"] for f in found] == ["EG001"]
    assert "failed" in command("findings", tmp_path / "run").stdout


def test_ctrl_c_ends_a_run_cleanly(recipe, tmp_path, command_server):
    file = recipe(train={"epochs": 20000})
    ended = command_server.call(run_until_signal, str(file), str(tmp_path / "run"), int(signal.SIGINT))
    assert ended.returncode == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    (run,) = json.loads(ended.stdout)["runs"]
    assert run["status"] == "stopped"
    assert run["last_step"] >= 8


@pytest.mark.long
def test_watch_serves_the_dashboard_and_ends_with_the_run(recipe, tmp_path, command):
    done = command("run", recipe(), "--watch", "--port", "8950", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "dashboard: http://127.0.0.1:89" in done.stdout
    assert "EG001" in done.stdout
    assert "finished" in done.stdout
