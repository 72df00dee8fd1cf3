"""Several trainings in one program: when each began, and where the values of a later model come from."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record.recorder import Recorder
from edgeglass_diag.signals.parameters import OPTIMIZER_BEGUN
from edgeglass_diag.sites import Coverage


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(8, 12), nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.body(x).relu())


def windows_of(program, recorded=lambda step: True):
    windows = []
    torch.manual_seed(0)
    with Recorder(recorded, lambda window: windows.append(window.resolve())):
        program()
    assert not [site for w in windows for site in w.sites if site.coverage is Coverage.RECORDER_FAILED]
    return windows


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(6, 8)), torch.randint(0, 4, (6,))).backward()
        optimizer.step()


def sgd(*modules):
    return torch.optim.SGD([p for module in modules for p in module.parameters()], lr=0.1)


def teacher_then_student(made=Student, *, teacher_steps=5):
    teacher = Student()
    train(teacher, sgd(teacher), teacher_steps)
    student = made()
    train(student, sgd(student), 5)


def begun(windows):
    return {r.step: r.values[0] for window in windows for r in window.readings if r.signal == OPTIMIZER_BEGUN}


def origins(windows):
    return {origin.name: (window.step, origin) for window in windows for origin in window.origins}


def test_another_optimizer_over_other_weights_begins_a_training():
    assert begun(windows_of(teacher_then_student)) == {step: 5.0 * (step >= 5) for step in range(10)}


def test_it_is_known_where_its_first_steps_are_not_recorded():
    assert begun(windows_of(teacher_then_student, lambda step: step in (0, 9))) == {0: 0.0, 5: 5.0, 9: 5.0}


def test_an_optimizer_made_anew_goes_on_with_the_same_training():
    def program():
        model = Student()
        train(model, sgd(model), 3)
        train(model, sgd(model), 3)

    assert set(begun(windows_of(program)).values()) == {0.0}


def test_a_head_added_to_what_is_trained_on_is_no_training_of_its_own():
    def program():
        model = Student()
        train(model, sgd(model), 3)
        model.head = nn.Linear(12, 4)
        train(model, sgd(model), 3)

    assert set(begun(windows_of(program)).values()) == {0.0}


def test_where_a_later_model_comes_from_is_known():
    found = origins(windows_of(teacher_then_student, lambda step: step == 0))
    assert {name: step for name, (step, _) in found.items() if name.startswith("Student.")} == {
        "Student.body.weight": 5, "Student.body.bias": 5, "Student.head.weight": 5, "Student.head.bias": 5,
    }  # fmt: skip
    assert all(origin.writes[-1].random for _, origin in found.values())


def test_what_is_loaded_into_a_later_model_is_known():
    def made():
        student = Student()
        student.load_state_dict({name: value.clone() for name, value in Student().state_dict().items()})
        return student

    found = origins(windows_of(lambda: teacher_then_student(made), lambda step: step == 0))
    assert found["Student.body.weight"][1].writes[-1].is_loaded


def test_a_program_that_builds_a_layer_in_each_step_is_recorded_no_more_often_than_eight_times():
    def program():
        model = Student()
        optimizer = sgd(model)
        for _ in range(20):
            nn.Linear(2, 2)
            train(model, optimizer, 1)

    assert len(windows_of(program, lambda step: step == 0)) == 9


def test_a_parameter_that_is_replaced_by_hand_is_no_model():
    def program():
        model = Student()
        optimizer = sgd(model)
        train(model, optimizer, 2)
        model.extra = nn.Parameter(torch.zeros(3))
        train(model, optimizer, 2)

    assert len(windows_of(program, lambda step: step == 0)) == 1


@pytest.mark.parametrize("recorded", [lambda step: True, lambda step: step == 0], ids=["all", "first"])
def test_watching_changes_no_bit_of_a_later_training(recorded):
    def program():
        teacher, student = Student(), None
        train(teacher, sgd(teacher), 3)
        student = Student()
        train(student, sgd(student), 3)
        return [p.detach().clone() for p in student.parameters()]

    torch.manual_seed(0)
    plain, watched = program(), []
    windows_of(lambda: watched.extend(program()), recorded)
    assert all(torch.equal(one, other) for one, other in zip(plain, watched, strict=True))
