"""Several threads that train in one process: one of them is recorded, and none is disturbed."""

import os
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeglass_diag.record import Recorder
from edgeglass_diag.record.training_thread import PATIENCE, TrainingThread
from edgeglass_diag.sites import Coverage


def train(seed, steps=8):
    """Return the losses and weights of a training that draws from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-2), []
    for _ in range(steps):
        x = torch.randn(4, 6, generator=generator)
        loss = F.cross_entropy(model(x) @ x.mT, torch.arange(4)) + F.mse_loss(model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [parameter.tolist() for parameter in model.parameters()]


def at_once(seeds, steps=8):
    """Return what trainings in as many threads made, and what they raised."""
    made, errors = {}, []
    together = threading.Barrier(len(seeds))

    def run(seed):
        try:
            together.wait()
            made[seed] = train(seed, steps)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return made, errors


def watched(action):
    windows = []
    with Recorder(lambda step: step % 3 < 2, lambda window: windows.append(window.resolve())):
        result = action()
    return result, windows


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.long)])
def test_threads_that_train_at_once_are_all_as_unwatched(count, request):
    expected = {seed: train(seed) for seed in range(count)}
    for _ in range(100 if request.node.get_closest_marker("long") else 12):
        (made, errors), windows = watched(lambda: at_once(range(count)))
        assert errors == []
        assert made == expected
        assert not [s for w in windows for s in w.sites if s.coverage is Coverage.RECORDER_FAILED]


def test_what_another_thread_trains_is_not_recorded_and_that_is_said():
    turns = [threading.Semaphore(1), threading.Semaphore(0)]
    models, end = [nn.Linear(3, 3), nn.Linear(5, 5)], threading.Barrier(2)

    def run(me):
        optimizer = torch.optim.SGD(models[me].parameters(), lr=0.1)
        for _ in range(6):
            turns[me].acquire()
            models[me](torch.ones(2, models[me].in_features)).sum().backward()
            optimizer.step()
            turns[1 - me].release()
        end.wait()  # a thread that has ended is followed by the other

    def both():
        threads = [threading.Thread(target=run, args=(me,)) for me in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    windows = []
    with Recorder(lambda step: True, lambda window: windows.append(window.resolve())):
        both()
    assert [window.step for window in windows] == list(range(6))
    sites = {site.path: site for window in windows for site in window.sites}
    assert sites["threads"].coverage is Coverage.OTHER_THREAD_TRAINS
    shapes = {r.site: r.values for w in windows for r in w.readings if r.signal == "data/samples"}
    assert len(shapes) == 1


def test_a_worker_after_a_warm_up_is_recorded():
    def loop():
        train(0, 1)
        worker = threading.Thread(target=train, args=(1, 9))
        worker.start()
        worker.join()

    windows = []
    with Recorder(lambda step: True, lambda window: windows.append(window.resolve())):
        loop()
    assert [window.step for window in windows] == list(range(9))
    assert not [site for window in windows for site in window.sites if site.path == "threads"]
    assert sum(any(r.signal == "loss/value" for r in window.readings) for window in windows) >= 7


def fit(model, steps):
    """Train a linear model."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()


def in_a_worker(action, *args):
    worker = threading.Thread(target=action, args=args)
    worker.start()
    worker.join()


def test_models_of_the_main_thread_are_left_to_it_and_are_back_with_their_names_as_the_worker_runs_them():
    tried, other = nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 3)
    with Recorder(lambda step: True, lambda window: None) as recorder:
        tried(torch.ones(2, 3)).sum().backward()
        other(torch.ones(2, 3)).sum().backward()
        names = [name for name, _ in recorder.named_parameters]
        assert names == ["0.weight", "0.bias", "Linear.weight", "Linear.bias"]
        in_a_worker(fit, tried, 1)
        assert recorder.named_parameters == []  # gradients of these may come and go in the main thread
        in_a_worker(fit, tried, 2)
        assert [name for name, _ in recorder.named_parameters] == names[:2]


def test_of_threads_that_begin_a_pass_at_once_one_is_watched():
    for _ in range(50):
        thread, claimed = TrainingThread(), []
        together = threading.Barrier(4)

        def begin(thread=thread, claimed=claimed, together=together):
            together.wait()
            thread.begins_pass(training=True)
            claimed.append(thread.is_another)
            together.wait()  # an identity may be given again

        workers = [threading.Thread(target=begin) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sorted(claimed) == [False, True, True, True]


def test_a_thread_that_is_alive_hands_over_after_two_steps_and_among_several_only_after_many():
    watched_thread, answers = TrainingThread(), []

    def elsewhere(action):
        worker = threading.Thread(target=lambda: answers.append(action()))
        worker.start()
        worker.join()
        return answers[-1]

    assert watched_thread.steps()
    two = [False, True]
    assert elsewhere(lambda: [watched_thread.steps() for _ in two]) == two
    assert watched_thread.steps()  # the other has ended
    assert elsewhere(lambda: watched_thread.steps()) is False
    assert watched_thread.steps()
    assert watched_thread.has_company
    assert elsewhere(lambda: [watched_thread.steps() for _ in range(PATIENCE)]) == [False] * (PATIENCE - 1) + [True]


def fork_while_another_thread_is_inside():
    recorder = Recorder(lambda step: True, lambda window: None)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with recorder.boundary.lock:
            inside.set()
            leave.wait()

    with recorder:
        holder = threading.Thread(target=hold)
        holder.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            train(0, 2)
            recorder.abandon()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        leave.set()
        holder.join()


def test_a_fork_while_another_thread_is_inside_waits_for_nothing(command_server):
    assert command_server.call(fork_while_another_thread_is_inside).returncode == 0
