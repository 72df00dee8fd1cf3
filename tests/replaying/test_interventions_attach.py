import re
import subprocess
import sys

import pytest

from edgeglass_diag.intervention import AT_FINDING, KINDS, Intervention
from edgeglass_diag.replaying.interventions import attach_all, import_all, known_interventions
from tests.replaying.conftest import STEPS


def test_the_names_are_known_without_torch():
    code = (
        "import sys; from edgeglass_diag.replaying.interventions import known_interventions as known;"
        "print(known()['optimizer.lr'], 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "scale the learning rate of all groups False\n"


def test_there_are_means_for_each_name_and_no_others():
    import_all()
    from edgeglass_diag.replaying.interventions.means import registered  # imported torch

    assert registered() == set(known_interventions())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Intervention("optimizer.lr", 0.1), "learning rate x 0.1"),
        (Intervention("optimizer.lr", 1), "learning rate x 1"),
        (Intervention("optimizer.clip", 1.0), "gradients clipped to norm 1"),
        (Intervention("optimizer.weight_decay", 0.0), "weight decay 0"),
        (Intervention("optimizer.eps", 1e-8), "eps 1e-08 in the optimizer"),
        (Intervention("optimizer.include", None, "head.weight"), "head.weight put into the optimizer"),
        (Intervention("optimizer.include"), "all parameters that no optimizer holds put into the optimizer"),
        (Intervention("initial.std", 0.02, "latents"), "latents drawn anew with std 0.02"),
        (Intervention("initial.rows", None, "latents"), "each row of latents drawn for itself"),
        (Intervention("initial.rows", 0.02, "latents"), "each row of latents drawn for itself with std 0.02"),
        (Intervention("loss.normalised"), "L2 norm put on the operands of the loss"),
        (Intervention("dropout.off"), "no dropout in the model"),
    ],
)
def test_an_answer_calls_a_change_by_words(wanted, said):
    assert wanted.words == said


@pytest.mark.parametrize("name", KINDS)
def test_the_words_of_all_kinds_are_complete(name):
    kind = KINDS[name]
    value = 0.5 if not kind.value.takes(None) else None
    value = value if kind.value.takes(value) else 2.0
    words = Intervention(name, value, "tower.proj" if kind.site.value != "none" else "").words
    assert "{" not in words
    assert ("tower.proj" in words) == (kind.site.value != "none")
    assert kind.value.takes(None) or f"{value:g}" in words


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Intervention("optimizer.rate", 1.0), "unknown intervention 'optimizer.rate': known are attention.mask"),
        (Intervention("optimizer.lr"), "optimizer.lr: expected a finite number of at least 0, got none"),
        (Intervention("optimizer.lr", "fast"), "optimizer.lr: expected a finite number of at least 0, got 'fast'"),
        (Intervention("optimizer.lr", float("nan")), "expected a finite number of at least 0, got nan"),
        (Intervention("optimizer.lr", True), "expected a finite number of at least 0, got True"),
        (Intervention("optimizer.warmup", 2.5), "expected a whole number of at least 1, the steps, got 2.5"),
        (Intervention("optimizer.beta2", 1.0), "expected a number from 0 to below 1, got 1.0"),
        (Intervention("optimizer.unclipped", 1.0), "optimizer.unclipped: expected no value, got 1.0"),
        (Intervention("optimizer.lr", 0.1, "head"), "optimizer.lr: expected no site, got 'head'"),
        (Intervention("initial.std", 0.1), "initial.std: expected a site, the parameter that is changed, got none"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_put_in_place(wanted, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        attach_all([Intervention("optimizer.lr", 1.0), wanted])


def test_a_change_at_a_finding_takes_its_site():
    assert Intervention("initial.std", 0.02, AT_FINDING).of_finding("latents").site == "latents"
    assert Intervention("optimizer.lr", 0.1).of_finding("latents").site == ""


@pytest.mark.long  # its parts are tried without a replay as well
def test_a_replay_tells_how_often_a_change_was_made_and_at_which_line_of_the_program(folder):
    changes = (Intervention("optimizer.lr", 0.5), Intervention("initial.std", 0.02, "0.weight"))
    (replayed,) = folder.replay(folder.plan(interventions=(*changes, Intervention("schedule.constant"))))
    assert replayed.applied == {"optimizer.lr=0.5": STEPS, "initial.std=0.02 on 0.weight": 1, "schedule.constant": 0}
    program = folder.place / "train.py"
    (line,) = [n for n, text in enumerate(program.read_text().splitlines(), 1) if "optim.SGD" in text]
    assert replayed.places == {"optimizer.lr=0.5": f"{program}:{line}"}
