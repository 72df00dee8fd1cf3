"""Guard the initialisation of a model: inspect it, judge it, compare it with its certificate, and report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from edgeglass_diag.guard.baseline import Baseline
from edgeglass_diag.guard.render import describe, verdict
from edgeglass_diag.initcheck.certificate import SEEDS, Change, certify, changes
from edgeglass_diag.initcheck.inspect import Build, Inspection, Loss, inspect_init
from edgeglass_diag.records import Finding, Severity, UsageError
from edgeglass_diag.rules import CATALOGUE, Engine, configure, read_table


class InitRegressionError(AssertionError):
    """An initialisation that has a fault or differs from its certificate."""


@dataclass(frozen=True)
class InitGuard:
    """Fail a test whose model has a fault at init.

    Attributes:
        test: the test's id, under which certificates are kept.
        folder: where the search for ``[tool.edgeglass-diag]`` begins.
        fail_on: least severity that fails.
        ignore: codes that are left out, in addition to those of the configuration.
        baseline: certificates, None if no file was given.
        report: called with (name, text) for the test report.
    """

    test: str
    folder: Path
    fail_on: Severity = Severity.WARNING
    ignore: Sequence[str] = ()
    baseline: Baseline | None = None
    report: Callable[[str, str], None] = lambda name, text: None

    def __call__(
        self,
        build: Build | nn.Module,
        batch: object,
        *,
        loss: Loss | None = None,
        name: str = "",
        fail_on: str | None = None,
        ignore: Sequence[str] = (),
        seed: int = 0,
    ) -> Inspection:
        """Inspect a model at init and raise if it has a fault or has changed.

        Args:
            build: makes the model, called without arguments; or a model, of which no origin of values is known.
            batch: what the model is called with: a tensor, a tuple of arguments, or a mapping of keywords.
            loss: makes a scalar of the output, see ``inspect_init``.
            name: tells several certificates of one test apart.
            fail_on: ``info``, ``warning`` or ``critical`` for this call.
            ignore: further codes that are left out.
            seed: for the draws.

        Returns:
            What was observed, for assertions of your own.

        Raises:
            InitRegressionError: naming site, measured, allowed, file and line, and what to do.
            UsageError: for wrong arguments.
        """
        inspection = inspect_init(build, batch, loss=loss, seed=seed)
        findings = self._judge(inspection, ignore)
        limit = self.fail_on if fail_on is None else severity(fail_on)
        moved = self._compare(build, batch, inspection, loss=loss, name=name, seed=seed)
        self._tell(name, inspection, findings, moved)
        failing = [f for f in findings if f.severity.rank >= limit.rank]
        if failing or moved:
            raise InitRegressionError(verdict(failing, moved, None if self.baseline is None else self.baseline.file))
        return inspection

    def _judge(self, inspection: Inspection, ignore: Sequence[str]) -> list[Finding]:
        rules = configure(CATALOGUE, read_table(self.folder), ignore=[*self.ignore, *ignore])
        engine = Engine(rules)
        engine.feed(inspection.window)
        return engine.findings

    def _compare(
        self,
        build: Build | nn.Module,
        batch: object,
        inspection: Inspection,
        *,
        loss: Loss | None,
        name: str,
        seed: int,
    ) -> list[Change]:
        if self.baseline is None:
            return []
        key = f"{self.test} {name}".strip()
        if self.baseline.update:
            if isinstance(build, nn.Module):
                raise UsageError("init_guard: a certificate needs the function that builds the model, got a model")
            others = [inspect_init(build, batch, loss=loss, seed=seed + more) for more in range(1, SEEDS)]
            self.baseline.write(key, certify([inspection, *others]))
            return []
        return changes(self.baseline.read(key), inspection)

    def _tell(self, name: str, inspection: Inspection, findings: Sequence[Finding], moved: Sequence[Change]) -> None:
        prefix = f"init_guard/{name}/" if name else "init_guard/"
        for attention in inspection.attention:
            self.report(f"{prefix}{attention.site}/logit_std", f"{attention.logit_std:.6g}")
        for finding in findings:
            self.report(f"{prefix}finding", json.dumps(describe(finding), default=str))
        for change in moved:
            self.report(f"{prefix}change", json.dumps({"site": change.site, "message": str(change)}))


def init_guard(
    build: Build | nn.Module,
    batch: object,
    *,
    loss: Loss | None = None,
    fail_on: str = "warning",
    ignore: Sequence[str] = (),
    seed: int = 0,
) -> Inspection:
    """Inspect a model at init and raise if a rule finds a fault; what the pytest fixture of this name does.

    Args:
        build: makes the model, called without arguments; or a model, of which no origin of values is known.
        batch: what the model is called with: a tensor, a tuple of arguments, or a mapping of keywords.
        loss: makes a scalar of the output, see ``inspect_init``.
        fail_on: least severity that fails: ``info``, ``warning`` or ``critical``.
        ignore: codes that are left out, in addition to those of pyproject.toml.
        seed: of the initial values.

    Raises:
        InitRegressionError: naming site, measured, allowed, file and line, and what to do.
        UsageError: for wrong arguments.

    Example:
        >>> import torch
        >>> init_guard(lambda: nn.Linear(4, 2), torch.randn(8, 4)).never_called
        ()
    """
    guard = InitGuard("", Path.cwd(), severity(fail_on))
    return guard(build, batch, loss=loss, ignore=ignore, seed=seed)


def severity(word: str) -> Severity:
    """Return the severity of a name.

    Raises:
        UsageError: for another word.
    """
    try:
        return Severity(word)
    except ValueError:
        raise UsageError(f"fail_on: expected {', '.join(Severity)}, got {word!r}") from None


def with_marker(guard: InitGuard, *, fail_on: str | None = None, ignore: Sequence[str] = ()) -> InitGuard:
    """Return the guard with the options of a marker."""
    limit = guard.fail_on if fail_on is None else severity(fail_on)
    return replace(guard, fail_on=limit, ignore=[*guard.ignore, *ignore])
