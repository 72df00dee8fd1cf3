"""The plain scripts with faults: they learn, with a fault they do not, and ``explain`` names it."""

import json
import re
import sys
from fnmatch import fnmatchcase
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch

from examples.guilty_history import git
from examples.plain_faults.fault import INNOCENT_ARGUMENTS, INNOCENT_CHANGES, changed, make_fault_history, text_of
from examples.plain_faults.faults import FAULTS, GIVEN, WRITTEN
from tests.benchmarks.explain_cases import lines_at_present, plain_cases
from tests.benchmarks.explain_judged import Judged, judge
from tests.benchmarks.explain_programs import examine
from tests.benchmarks.programs_of_others import other_cases

SCRIPTS = sorted(INNOCENT_ARGUMENTS)
STEPS, TAIL = 80, 20
AS_LOSSES_OF_ANOTHER_SIZE = "siglip-averaged"
"""Its loss is a 32nd of the healthy one: only the answers tell."""


@pytest.fixture
def trained(monkeypatch, capsys):
    """Run the text of a script in this process; gives mean loss and accuracy of its last steps."""

    def run(text, words=(), environment=None, seed=0):
        own = ["--log-every", "1", "--steps", str(STEPS), "--seed", str(seed)]
        with monkeypatch.context() as patched, torch.random.fork_rng():
            patched.setattr(sys, "argv", ["train.py", *words, *own])
            for name, value in (environment or {}).items():
                patched.setenv(name, value)
            exec(compile(text, "train.py", "exec"), {"__name__": "__main__"})
        printed = capsys.readouterr().out
        values = [[float(each) for each in re.findall(rf"{name} (\S+)", printed)] for name in ("loss", "accuracy")]
        assert [len(each) for each in values] == [STEPS, STEPS]
        return [fmean(each[-TAIL:]) for each in values]

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_healthy_script_learns_and_so_do_its_innocent_variants(trained, script):
    innocent = [word for pair in INNOCENT_ARGUMENTS[script] for word in pair]
    text = changed(text_of(script), INNOCENT_CHANGES[script])
    for loss, accuracy in (trained(text_of(script)), trained(text, innocent)):
        assert loss < 1
        assert accuracy > 0.8


def is_ill(fault, ill, healthy):
    if fault.name == AS_LOSSES_OF_ANOTHER_SIZE:
        return ill[1] < healthy[1] / 2
    return not ill[0] < 2 * healthy[0]  # nan is ill


@pytest.mark.long
@pytest.mark.parametrize("fault", [each for each in FAULTS if each.script == "matryoshka"], ids=lambda each: each.name)
def test_a_fault_makes_the_small_script_ill(trained, fault):
    ill = trained(fault.ill_text, fault.ill_words, fault.environment)
    assert is_ill(fault, ill, trained(text_of(fault.script), fault.always))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.title)
def test_every_fault_makes_its_script_ill(trained, fault, seed):
    ill = trained(fault.ill_text, fault.ill_words, fault.environment, seed)
    assert is_ill(fault, ill, trained(text_of(fault.script), fault.always, seed=seed))


@pytest.mark.parametrize("fault", WRITTEN, ids=lambda each: each.title)
def test_a_fault_is_lines_of_its_own(tmp_path, fault):
    (tmp_path / fault.file).write_text(fault.ill_text)
    line, innocent = lines_at_present(fault, tmp_path)
    assert min(abs(line - each) for each in innocent) > 1


@pytest.mark.parametrize("title", ["two_towers:norms-missing", "sigmoid:siglip-averaged", "matryoshka:two-zero-layers"])
def test_a_history_has_the_fault_in_its_third_commit(tmp_path, title):
    (fault,) = (each for each in WRITTEN if each.title == title)
    guilty = make_fault_history(tmp_path / "user", fault)
    assert git(tmp_path / "user", "rev-parse", "HEAD~1") == guilty
    assert git(tmp_path / "user", "diff", "--unified=0", f"{guilty}~1", guilty).count("\n@@ ") == 3


def test_names_are_told_apart():
    assert len({fault.title for fault in FAULTS}) == len(FAULTS) >= 40
    assert all(fault.cause for fault in GIVEN)
    cases = [*plain_cases(), *other_cases()]
    assert len({case.name for case in cases}) == len(cases)


def row(setting, kind, **more):
    return {"setting": setting, "kind": kind, **more}


def judged(pattern, *causes, folder=None, trials=()):
    (case,) = (each for each in plain_cases() if fnmatchcase(f"{each.title}--{each.form}", pattern))
    made = judge(case, {"causes": causes, "trials": trials, "verdict": ""}, folder, 1.0)
    return made.right, list(made.innocent)


def test_arguments_are_judged():
    case = "two_towers:head-frozen--arguments"
    assert judged(case, row("--freeze", "argument")) == (True, [])
    assert judged(case, row("--freeze", "argument"), row("--width", "argument")) == (True, ["--width"])
    assert judged(case) == (False, [])
    assert judged("sigmoid:rate-of-zero--arguments", row("$LR_FACTOR", "variable")) == (True, [])


def test_lines_are_judged(tmp_path):
    (fault,) = (each for each in WRITTEN if each.title == "matryoshka:double-softmax")
    guilty = make_fault_history(tmp_path / "program", fault)
    line, (other, _) = lines_at_present(fault, tmp_path / "program")
    case, folder = "matryoshka:double-softmax--lines", tmp_path / "program"
    commit, bad = row(f"{guilty[:10]} Tidy up", "commit", ill=guilty[:10]), row(f"matryoshka.py:{line}", "hunk")
    innocent = row(f"matryoshka.py:{other}", "hunk")
    assert judged(case, commit, bad, folder=folder) == (True, [])
    assert judged(case, commit, folder=folder) == (False, [])
    assert judged(case, commit, bad, innocent, folder=folder) == (True, [innocent["setting"]])
    assert judged(case, row("0" * 10, "commit", ill="0" * 10), folder=folder) == (False, ["0" * 10])


def test_interventions_are_judged_by_what_they_are(tmp_path):
    (tmp_path / "r.replay").mkdir()
    plan = {"interventions": [{"name": "optimizer.lr", "value": 0.1, "site": ""}]}
    (tmp_path / "r.replay" / "plan.json").write_text(json.dumps(plan))
    trials = [{"label": "learning rate x 0.1", "out": str(tmp_path / "r")}]
    case, words = "two_towers:rate-far-too-large--findings", "learning rate x 0.1"
    assert judged(case, row(words, "intervention"), trials=trials) == (True, [])
    assert judged(case, row("optimizer.warmup=50", "intervention")) == (False, [])
    assert judged(case, row("dropout.off", "intervention")) == (False, ["dropout.off"])
    beyond = "two_towers:texts-cut--findings"
    assert judged(beyond) == (True, [])
    assert judged(beyond, row(words, "intervention"), trials=trials) == (False, ["optimizer.lr=0.1"])


@pytest.mark.long
@pytest.mark.parametrize("title", ["matryoshka:decay-far-too-strong--arguments", "matryoshka:double-softmax--lines"])
def test_explain_names_the_fault(tmp_path, title):
    (case,) = (each for each in plain_cases() if f"{each.title}--{each.form}" == title)
    found = examine(case, tmp_path / "case", SimpleNamespace(seeds=2, parallel=2))
    assert (found.right, found.innocent, found.failed) == (True, (), "")
    assert Judged.parse(found.as_text()) == found
