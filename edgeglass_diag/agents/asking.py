"""The tools that run code of the user, each in a process of its own: check, evaluate, and explain in the background."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import anyio
from pydantic import Field

from edgeglass_diag.agents.plan import Request, plan
from edgeglass_diag.agents.reading import RunFolder
from edgeglass_diag.agents.workers import Asked, State, Workers
from edgeglass_diag.explained.map_words import cell_words
from edgeglass_diag.explained.phase_map import KeptMap
from edgeglass_diag.explained.record import KeptExplanation, Tried, is_explanation, read_explanation
from edgeglass_diag.marks import read_explained
from edgeglass_diag.programs.targets import Program, resolve
from edgeglass_diag.records import UsageError
from edgeglass_diag.render.explanation import notes

_MOST_CELLS = 60
"""Most cells of a map in an answer."""

ExplanationFolder = Annotated[str, Field(description="Folder of the explanation, as explain_start named it.")]


class Asking:
    """The tools, with the explanations that this server has begun.

    Args:
        workers: start the processes.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._begun: dict[str, Asked] = {}

    async def check(
        self,
        target: Annotated[str, Field(description="Recipe, YAML file, or a function as package.module:build.")],
        settings: Annotated[Sequence[str], Field(description="section.key=value, or name=value of build.")] = (),
        probes: Annotated[bool, Field(description="Try changes of the inputs: what must the loss depend on?")] = False,
    ) -> Any:
        """Preflight before the first step, no training: initial values, attention, gradients of one batch.

        The function is imported and called in a process of its own. It returns a model, (model, batch), or
        (model, optimizer, step).
        """
        if isinstance(resolve([target], settings=settings), Program):
            raise UsageError(f"{target} is a program, which only the command runs: edgeglass-diag check {target}")
        return await self._workers.answer("check", target=target, settings=list(settings), probes=probes)

    async def evaluate(
        self,
        path: Annotated[str, Field(description="Embeddings (npy, npz, safetensors, parquet), run or checkpoint.")],
        split: Annotated[str | None, Field(description="Of a run or checkpoint: train, val, test or all.")] = None,
        dims: Annotated[Sequence[int], Field(description="Prefix widths; the model's own if empty.")] = (),
        curve: Annotated[bool, Field(description="Also the Matryoshka curve with its controls.")] = False,
    ) -> Any:
        """Recall@1/5/10 both ways with chance and interval, by Matryoshka width, and embedding geometry."""
        return await self._workers.answer("evaluate", path=path, split=split, dims=list(dims), curve=curve)

    async def explain_start(
        self,
        run: RunFolder,
        confirm: Annotated[bool, Field(description="Begin; without it is only said what would be run.")] = False,
        against: Annotated[str | None, Field(description="A healthy run: which argument or variable is it?")] = None,
        suspects: Annotated[Sequence[str], Field(description="Options with a healthy value, as --lr=2e-4.")] = (),
        tries: Annotated[Sequence[str], Field(description="Changes to try, as optimizer.lr=0.1.")] = (),
        axes: Annotated[
            Sequence[str],
            Field(description="For a map: settings with values, as optim.lr=1e-3,1e-2."),
        ] = (),
        seeds: Annotated[int, Field(description="Replays of each change.", ge=1)] = 3,
        steps: Annotated[int | None, Field(description="Optimizer steps of a replay.", ge=4)] = None,
        budget: Annotated[float, Field(description="Seconds after which no replay begins.", gt=0)] = 900,
        out: Annotated[str, Field(description="Folder of the replays; a new one below runs if empty.")] = "",
    ) -> Any:
        """Prove the cause of a failing run by short replays that differ in one thing, or map settings by axes.

        The first call says what would be run: program, steps, number of replays, where written. With confirm they
        begin in the background; ask explain_state how far they are.
        """
        request = Request(run, out, against, tuple(suspects), tuple(tries), seeds, steps, budget, tuple(axes))
        planned = plan(request)
        if not confirm:
            return {"would_run": planned, "begun": False, "next": "the same call with confirm=true begins it"}
        place = planned["written_to"]
        asked = {**asdict(replace(request, out=place)), "suspects": list(suspects), "tries": list(tries)}
        asked["axes"] = list(axes)
        self._begun[_key(place)] = self._workers.begin("explain", **asked)
        return {"runs": planned, "begun": True, "explanation": place, "next": "explain_state"}

    async def explain_state(
        self,
        explanation: ExplanationFolder,
        wait: Annotated[float, Field(description="Seconds to wait for its end.", ge=0, le=600)] = 0,
    ) -> Any:
        """How far an explanation is: running, finished, failed or stopped; replays done and known, seconds left."""
        begun = self._known(explanation)
        with anyio.move_on_after(wait):
            await begun.ended.wait()
        return _state(explanation, begun)

    async def explain_stop(self, explanation: ExplanationFolder) -> Any:
        """End an explanation that runs, with its replays; those that are done stay in its folder."""
        begun = self._known(explanation)
        begun.scope.cancel()
        await begun.ended.wait()
        return _state(explanation, begun)

    def explain_result(
        self,
        explanation: Annotated[str, Field(description="Folder of an explanation, or of a run that was explained.")],
    ) -> Any:
        """What replays have shown: the verdict, causes and what is none, with counts, and the mark of each finding."""
        begun = self._begun.get(_key(explanation))
        if begun is not None and begun.state is not State.FINISHED:
            raise UsageError(f"{explanation} has no result: it {_standing(begun)}")
        folder = Path(explanation)
        if not is_explanation(folder) and (kept := read_explained(folder).folder) is not None:
            folder = kept
        return _result(read_explanation(folder), folder)

    def _known(self, explanation: str) -> Asked:
        begun = self._begun.get(_key(explanation))
        if begun is None:
            known = ", ".join(self._begun) or "none"
            raise UsageError(f"{explanation}: expected an explanation that this server has begun; it has {known}")
        return begun


def _key(folder: str) -> str:
    return str(Path(folder).resolve())


def _standing(begun: Asked) -> str:
    said = {State.RUNNING: "is still running", State.STOPPED: "was stopped"}
    return said.get(begun.state, f"failed: {begun.error}")


def _state(explanation: str, begun: Asked) -> dict[str, Any]:
    progress = dict(begun.progress)
    if begun.state is State.RUNNING and progress:
        left = progress["replays_known"] - progress["replays_done"]
        progress["seconds_left"] = round(left * progress["seconds_each"])
    told = {"error": begun.error} if begun.error else {}
    told |= {"next": "explain_result"} if begun.state is State.FINISHED else {}
    seconds = round(time.monotonic() - begun.begun, 1)
    return {"explanation": explanation, "state": str(begun.state), "seconds": seconds, **progress, **told}


def _result(kept: KeptExplanation, folder: Path) -> dict[str, Any]:
    return {
        "verdict": kept.verdict,
        "explanation": str(folder),
        "run": kept.run,
        "causes": [_tried(each) for each in kept.causes],
        "findings": [{"code": m.code, "site": m.site, "mark": str(m.mark), "by": m.by} for m in kept.findings],
        "not_causes": [_tried(each) for each in kept.not_causes],
        **({} if kept.phase_map is None else {"map": _map(kept.phase_map)}),
        "notes": notes(kept),
        "finished": kept.finished,
    }


def _map(found: KeptMap) -> dict[str, Any]:
    """Return what a map shows, its cells in words; of many the first."""
    return {
        "axes": {axis.setting: list(axis.values) for axis in found.axes},
        "outcomes": {str(outcome): count for outcome, count in found.counts().items()},
        "decides": {effect.setting: f"on {effect.decides} of {effect.lines} lines" for effect in found.effects},
        "cells": [cell_words(cell) for cell in found.cells[:_MOST_CELLS]],
        "cells_left_out": max(0, len(found.cells) - _MOST_CELLS),
    }


def _tried(each: Tried) -> dict[str, Any]:
    return {name: value for name, value in each.model_dump().items() if value not in (None, (), [])}
