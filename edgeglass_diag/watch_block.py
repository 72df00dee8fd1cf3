"""The public function ``watch``, which ends in nothing but a watch or one clear error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from edgeglass_diag.alerts.address import check_address, without_secret
from edgeglass_diag.folders import fixed
from edgeglass_diag.own_rank import speaks
from edgeglass_diag.process import say
from edgeglass_diag.rank_store import open_rank_store
from edgeglass_diag.records import UsageError
from edgeglass_diag.rules import Rule
from edgeglass_diag.rules.choice import choose_rules, codes_to_stop_on, header_of
from edgeglass_diag.schedule import Schedule
from edgeglass_diag.sinks import Feeds, live_targets
from edgeglass_diag.store import RunWriter, next_step
from edgeglass_diag.unwatched import Unwatched
from edgeglass_diag.watching import Watch, innermost
from edgeglass_diag.window_writer import OnFinding


def _rank_store(
    out: Path, rank: int, header: Mapping[str, object], resume: int | None, stepped: bool
) -> RunWriter | None:
    """Open the store of a rank, None where it took no step."""
    return open_rank_store(out, rank, header, resume=resume) if stepped else None


def watch(
    model: nn.Module | None = None,
    optimizer: Optimizer | None = None,
    *,
    out: str | Path,
    every: int | None = None,
    exact_attention: bool = False,
    samples: bool = True,
    rules: Sequence[Rule | str] | None = None,
    stop_on: Sequence[str] = (),
    should_raise: bool = True,
    on_finding: OnFinding | None = None,
    report_to: Sequence[str] = (),
    notify: str | None = None,
    live: bool = True,
    resume: bool = False,
    name: str | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Watch:
    """Watch the training inside a ``with`` block: the only line a training loop needs.

    Model and optimizer are found as they run, so both may be left out.

    Args:
        model: its modules are named at once, by their paths below it.
        optimizer: its steps end the windows, from its first one on; where it is done, as after the first phase of a
            training, those of the next. If None, those of the optimizer that steps first; with several optimizers, as
            in a GAN, name the one whose steps count.
        out: run folder, new or empty; with ``resume`` also one with a run.
        every: distance of recorded windows in optimizer steps; besides these the first eleven are recorded, and those
            that begin with an evaluation, at most one in ten steps. If None it is 10, and from step 1000 on it is
            doubled each time it is a hundredth of the step, up to 160.
        exact_attention: measure all logits of each attention at any cost; otherwise a strided subset of more than
            2^18, whose standard error is ``attention/entropy_se``.
        samples: keep pictures of at most 64 pixels and captions of at most 256 pairs with the embeddings of a few
            steps, in ``out/embeddings``; False keeps neither.
        rules: rule objects, or codes and their prefixes; all as configured in pyproject.toml if None.
        stop_on: codes of findings that end the training, by raising StopTraining in its thread.
        should_raise: raise it; otherwise the training is to end itself once ``Watch.stop`` has a finding.
        on_finding: called with each new or worse finding, in the thread that writes the record. An exception in it is
            noted in the run's result and on stderr, and never ends the training.
        report_to: sinks that are fed as the run goes, each in a thread of its own: ``tensorboard``, ``wandb``,
            ``mlflow``, ``trackio``. One that fails is said on stderr, and the rest goes on.
        notify: address of a webhook that is told of each finding once, in a thread of its own; Slack's and Discord's
            form is known by the address. Of several ranks, rank 0 tells. No record or message repeats its path.
        live: in a notebook, draw state, step, loss, steps per second and findings in the cell, in place; it has no
            effect elsewhere. Of several ranks, rank 0 draws.
        resume: go on with the run in ``out``, as a training does from its checkpoint; where there is none yet a new one
            begins. Steps go on behind the last one that the record knows of (``Run.cuts``).
        name: name of the run, the folder's if None.
        rank: of this process. Above 0 it records into ``out/rank-N``, which is made with its first window; ``out`` is
            read as one run.
        world_size: processes that train together.

    Raises:
        UsageError: if ``out`` is not empty or cannot be written, the run in it cannot go on, no rule that runs has a
            code that is given, a sink is unknown or lacks its package, ``notify`` is no http or https address, or model
            or optimizer is something else.
    """
    if model is not None and not isinstance(model, nn.Module):
        raise UsageError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    try:
        primary = innermost(optimizer) if optimizer is not None else None
        if primary is not None and not isinstance(primary, Optimizer):
            raise UsageError(f"optimizer: expected one torch.optim.Optimizer, got {type(optimizer).__name__}")
        chosen = choose_rules(rules)
        sinks = live_targets(report_to, "report_to")
        webhook = None if notify is None else check_address(notify, "notify")
        is_first = rank == 0 and speaks()
        first = next_step(fixed(Path(out))) if resume else None
        about = {**Schedule.of(every).facts, "world_size": world_size, "command": without_secret(sys.argv, webhook)}
        watching = Watch(
            out,
            name=name,
            every=every,
            exact_attention=exact_attention,
            samples=samples,
            rules=chosen,
            header={"rank": rank, "world_size": world_size} if world_size > 1 else None,
            stop_on=codes_to_stop_on(stop_on, chosen),
            should_raise=should_raise,
            on_finding=on_finding,
            store=partial(_rank_store, fixed(Path(out)), rank, about | header_of(chosen), first) if rank else None,
            resume=first,
            feeds=Feeds(sinks if is_first else ()),
            notify=webhook if is_first else None,
            live=live and is_first,
        )
        if model is not None:
            watching.name_model(model)
        if primary is not None:
            watching.follow(primary)
    except UsageError:
        raise
    except Exception as error:  # ours: the training comes first
        say("not watched", error)
        return Unwatched(out)
    return watching
