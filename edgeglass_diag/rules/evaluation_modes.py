"""EG612 and EG611: BatchNorm in training mode in an evaluation, and an evaluation with gradients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.evaluations import is_judged
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.signals.evaluation import EVALUATION_GRAPH, EVALUATION_NORM_MOVED, EVALUATION_PASSES


@dataclass(frozen=True)
class NormMovedByEvaluation(Rule):
    """An evaluation runs BatchNorm in training mode, and its batches go into the running statistics.

    Why: the answer for a sample depends on the others of its batch, the numbers are not those of the model that is
    saved, and the running statistics are from then on those of the samples that are evaluated: a leak of the
    evaluation into the model.

    Formula: in every evaluation pass of a recorded window that was looked at, a BatchNorm with running statistics is in
    training mode with a momentum above 0 and below 1, at least ``windows`` such windows in a row up to now. Passes
    without gradients are an evaluation where the model trains and nothing of what they give out goes backward in the
    window. Silent is what takes statistics anew: ``torch.optim.swa_utils.update_bn``, and a momentum of None or 1.
    A fact (info) where nothing is answered by the passes, no loss, recall or choice, as by a generator's samples.
    """

    windows: int = 1

    code = "EG612"
    name = "norm-moved-by-evaluation"
    title = "BatchNorm follows the evaluation"
    severity = Severity.WARNING
    page = "retrieval"
    signals = (EVALUATION_NORM_MOVED,)
    source = "derived: torch.nn.BatchNorm1d, a running average of the batches in training mode; one such pass moves it"
    fix = "Call model.eval() before evaluating and model.train() behind it; torch.no_grad() alone changes no mode."
    faulty = "with torch.no_grad(): evaluate(model)"
    healthy = "model.eval(); with torch.no_grad(): evaluate(model)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all."""
        found = {}
        for site, moved in history.of(EVALUATION_NORM_MOVED):
            state = moved.streak(lambda _, value: value == 1)
            if state is not None and state.windows >= self.windows:
                found[site] = state.since
        if found:
            since = min(found.values())
            judged = any(is_judged(history, step) for site in found for step in self._steps(history, site, since))
            yield self.finding(
                history,
                f"{listed([*found], 'takes', 'take')} the statistics of the batches of an evaluation at step {since}",
                site=next(iter(found)),
                severity=None if judged else Severity.INFO,
                since=since,
                evidence={"modules": list(found)[:20]},
            )

    def _steps(self, history: History, site: str, since: int) -> list[int]:
        return [step for step, _ in history.series(EVALUATION_NORM_MOVED, site).since(since)]


@dataclass(frozen=True)
class EvaluationKeepsGraphs(Rule):
    """An evaluation in evaluation mode runs with gradients on, and nothing of it goes backward.

    Why: ``model.eval()`` changes dropout and BatchNorm, and no gradients: each pass keeps what its backward pass would
    need, as a training step does, until its outputs are gone. The numbers are the same; time and memory are not, and a
    list of losses or embeddings keeps the graphs of all batches.

    Formula: a model that trains in training mode is called in evaluation mode, what it gives out has a graph, and
    nothing of that goes backward or is differentiated by ``torch.autograd.grad`` in the window. Always a fact. An
    evaluation in training mode with gradients on cannot be told from a training pass, and is taken for one.
    """

    code = "EG611"
    name = "evaluation-keeps-graphs"
    title = "Evaluation runs with gradients on"
    severity = Severity.INFO
    page = "coverage"
    signals = (EVALUATION_GRAPH,)
    source = "derived: torch.no_grad; autograd keeps the inputs of operations as long as their outputs live"
    fix = "Evaluate under torch.inference_mode() or torch.no_grad(), beside model.eval()."
    faulty = "model.eval(); losses.append(loss(model(x), y))"
    healthy = "model.eval(); with torch.inference_mode(): losses.append(loss(model(x), y).item())"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per model."""
        passes = history.series(EVALUATION_PASSES, "")
        for site, graph in history.of(EVALUATION_GRAPH):
            state = graph.streak(lambda _, value: value > 0)
            if state is not None and passes:
                yield self.finding(
                    history,
                    f"{site or 'the model'} is called by an evaluation at step {graph.steps[-1]} with gradients on, "
                    f"{passes.last:.0f} passes of which were looked at; none of them goes backward",
                    site=site,
                    since=state.since,
                    evidence={"passes": passes.last},
                )
