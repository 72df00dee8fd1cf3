"""A process is copied while no thread of ours is inside of the store, whose locks would stay locked in the copy."""

import os
import threading

import torch
from torch import nn
from torch.nn import functional as F

import edgeglass_diag as eg
from edgeglass_diag import forking
from edgeglass_diag.forking import BUSY, is_safe
from tests.helpers.waiting import until


def is_free():
    """Whether another thread can take the lock at once."""
    found = []

    def take():
        found.append(BUSY.lock.acquire(blocking=False))
        if found[0]:
            BUSY.lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]


def told_by_a_copy(tell=lambda: 10 * is_safe() + is_free()):
    """What a copy of this process says: whether it may use the store, and whether the lock is free there."""
    child = os.fork()
    if not child:
        os._exit(tell())
    return divmod(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 10)


def test_a_copy_can_use_the_store():
    assert told_by_a_copy() == (True, True)
    assert is_free()


def test_a_fork_waits_for_the_thread_that_is_inside():
    inside, waits = threading.Event(), threading.Event()
    order = []

    def write():
        with BUSY:
            inside.set()
            waits.wait()
            order.append("written")

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    os.register_at_fork(before=waits.set)  # called first, as the newest
    assert told_by_a_copy() == (True, True)
    order.append("copied")
    thread.join()
    assert order == ["written", "copied"]


def trained_in_a_copy(folder):
    """How many steps a copy takes that would be watched, times 10."""
    model, steps = nn.Linear(4, 3), 0
    with eg.watch(out=folder, every=1):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(3):
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            steps += 1
    return 10 * steps


def test_a_fork_does_not_wait_for_ever_and_the_copy_trains_unwatched(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(forking, "PATIENCE", 0.01)
    inside, copied = threading.Event(), threading.Event()

    def hang():
        with BUSY:
            inside.set()
            copied.wait()

    thread = threading.Thread(target=hang)
    thread.start()
    inside.wait()
    assert told_by_a_copy() == (False, True)
    assert told_by_a_copy(lambda: trained_in_a_copy(tmp_path / "run")) == (3, 0)
    assert not (tmp_path / "run").exists()
    assert "not watched" in capfd.readouterr().err
    assert is_safe()
    copied.set()
    thread.join()
    until(is_free, "the lock is free")


def test_the_writing_thread_is_inside_while_it_writes(tmp_path):
    free = []
    with eg.watch(out=tmp_path / "run", every=1, on_finding=lambda _: free.append(is_free())):
        model = nn.Linear(4, 3)
        nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), 1e3)
        for _ in range(12):
            loss = F.cross_entropy(model(torch.randn(8, 4)), torch.arange(8) % 3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert free
    assert not any(free[:1])
