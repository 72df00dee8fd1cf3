"""A preflight as tables for the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Column, Table

from edgeglass_diag import site_paths
from edgeglass_diag.commands.render.findings import finding_line
from edgeglass_diag.initcheck.report import CheckReport, modules, overwritten, probes, reading
from edgeglass_diag.probe_sites import ProbedChange
from edgeglass_diag.records import ParameterOrigin, ParameterWrite
from edgeglass_diag.render.sites import shape_text
from edgeglass_diag.signals.attention import ATTENTION_EFFECTIVE_NUM_OUTPUTS


def check_tables(checked: CheckReport) -> Iterator[RenderableType]:
    """Yield parameters, attention, signal and gradient along the model, findings and verdict."""
    yield escape(f"{checked.name}: {checked.sample or 'no batch'}")
    yield _parameters(checked)
    if checked.inspection.attention:
        yield _attention(checked)
    if checked.inspection.modules:
        yield _modules(checked)
    if probes(checked):
        yield _probes(checked)
    for finding in checked.findings:
        yield finding_line(finding)
        yield f"         fix: {escape(finding.fix)}"
    yield ""
    yield from (escape(line) for line in checked.verdict)


def _table(*columns: str) -> Table:
    """Return a table that folds long names and cuts none."""
    return Table(*(Column(name, overflow="fold") for name in columns), box=SIMPLE)


def _parameters(checked: CheckReport) -> Table:
    table = _table("parameter", "shape", "std", "gradient", "state", "written by")
    for origin in checked.inspection.origins:
        status = checked.statuses.get(origin.name)
        gradient = "-" if status is None or status.gradient is None else f"{status.gradient:.3g}"
        state = "" if status is None else _state(status.trainable, status.optimizer, checked.sample, status.gradient)
        shape = "x".join(map(str, origin.shape)) or "scalar"
        written = "\n".join(escape(line) for line in _writes(origin))
        table.add_row(escape(origin.name), shape, f"{origin.std:.3g}", gradient, state, written)
    return table


def _state(trainable: bool, held: bool | None, sample: str, gradient: float | None) -> str:
    if not trainable:
        return "frozen"
    words = ["not in an optimizer"] if held is False else []
    words += ["no gradient"] if sample and gradient is None else []
    return ", ".join(words) or "trained"


def _writes(origin: ParameterOrigin) -> list[str]:
    """Return the last write; all writes if the model's own code draws the parameter more than once."""
    if not origin.writes:
        return ["not watched"]
    if not overwritten(origin):
        return [_place(origin.writes[-1])]
    own = [write for write in origin.writes if not write.default]
    return [f"{_place(write)} (std {write.std:.3g}), overwritten" for write in own[:-1]] + [_place(own[-1])]


def _place(write: ParameterWrite) -> str:
    file = os.path.relpath(write.file) if os.path.isabs(write.file) else write.file
    file = write.file if file.startswith("..") else file
    return f"{write.op} {file}:{write.line}"


def _attention(checked: CheckReport) -> Table:
    columns = ("attention", "queries x keys", "logit std", "predicted", "entropy", "predicted", "distinct")
    table = _table(*columns)
    for found in checked.inspection.attention:
        predicted = [found.predicted_logit_std, found.predicted_entropy]
        std, entropy = ("-" if value is None else f"{value:.3g}" for value in predicted)
        distinct = reading(checked, ATTENTION_EFFECTIVE_NUM_OUTPUTS, found.site)
        table.add_row(
            escape(found.site), f"{found.queries} x {found.keys}", f"{found.logit_std:.3g}", std,
            f"{found.entropy:.4f}", entropy, "-" if distinct is None else f"{distinct:.5g}",
        )  # fmt: skip
        if found.unpredicted:
            table.add_row("", "", "", escape(f"({found.unpredicted})"))
    return table


CHANGES = {
    ProbedChange.INPUT_PERMUTED: "of another sample",
    ProbedChange.INPUT_SHARED: "of the first sample for all",
    ProbedChange.TOKENS_REVERSED: "tokens in reverse order",
    ProbedChange.PADDING_FILLED: "padding filled with tokens, evaluation mode",
    ProbedChange.PADDING_LENGTHENED: "padding lengthened, evaluation mode",
    ProbedChange.BATCH_HALVED: "half of the batch",
    ProbedChange.SAMPLE_ALONE: "the first sample alone, evaluation mode",
    ProbedChange.EVALUATION_MODE: "evaluation mode",
}


def _probes(checked: CheckReport) -> Table:
    table = _table("probe", "loss", "unchanged", "output changes by")
    for probe in probes(checked):
        place = "" if probe["input"] is None else f"{probe['input']} ({shape_text(tuple(probe['shape']))}) "
        numbers = [probe[key] for key in ("loss", "unchanged", "output_change")]
        cells = ["-" if value is None else f"{value:.5g}" for value in numbers]
        why = probe["not_probed"]
        table.add_row(escape(f"{place}{CHANGES[probe['change']]}"), *cells if why is None else (escape(f"({why})"),))
    return table


def _modules(checked: CheckReport) -> Table:
    table = _table("module", "class", "rms", "sample signal", "gradient")
    for module in modules(checked):
        if site_paths.call_number(module["site"]) > 1:  # a third call of the same module: --json has it
            continue
        signal, gradient = (module[key] for key in ("sample_signal", "gradient"))
        cells = ["-" if value is None else f"{value:.3g}" for value in (module["rms"], signal, gradient)]
        table.add_row(escape(module["site"] or "(model)"), escape(module["kind"]), *cells)
    return table
