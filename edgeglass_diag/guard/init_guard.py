"""The fixture ``init_guard``: inspect a model at init, apply the rules, compare with its certificate, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

from edgeglass_diag.gate.results import CHANGED, CHANGED_NAME, Judged, Result, fingerprint, result
from edgeglass_diag.guard.baseline import Baseline
from edgeglass_diag.guard.render import verdict
from edgeglass_diag.initcheck.certificate import SEEDS, Change, certify, changes
from edgeglass_diag.initcheck.inspect import Build, Inspection, Loss, inspect_init
from edgeglass_diag.records import Finding, Severity, UsageError
from edgeglass_diag.rules import CATALOGUE, Engine, configure, read_table


class InitRegressionError(AssertionError):
    """Raised for an initialisation with findings, or one that differs from its certificate."""


@dataclass(frozen=True)
class InitGuard:
    """Fails a test whose model is initialised badly.

    Attributes:
        test: id of the test, part of the key of its certificate.
        folder: folder whose ``pyproject.toml`` configures the rules, in ``[tool.edgeglass-diag]``.
        fail_on: lowest severity that fails the test.
        ignore: codes of rules to leave out, in addition to the configured ones.
        baseline: certificates; None without ``--eg-baseline``.
        report: called with (name, text) for each property of the test report.
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
        """Inspect a model at init; fail if a rule has a finding or a statistic has left its certificate.

        Args:
            build: function without arguments that returns the model; or a model, for which the lines that wrote its
                parameters are unknown.
            batch: input of the model: a tensor, a tuple of arguments, or a mapping of keywords.
            loss: function from the output to a scalar, see ``inspect_init``.
            name: distinguishes several certificates of one test.
            fail_on: ``info``, ``warning`` or ``critical``, for this call.
            ignore: further codes of rules to leave out.
            seed: of the random draws.

        Returns:
            The statistics of the model at init, for further assertions.

        Raises:
            InitRegressionError: if there are findings or changes; it names site, measured value, allowed value, file
                and line, and the fix.
            UsageError: for wrong arguments.
        """
        inspection = inspect_init(build, batch, loss=loss, seed=seed)
        rules = configure(CATALOGUE, read_table(self.folder), ignore=[*self.ignore, *ignore])
        engine = Engine(rules)
        engine.feed(inspection.window)
        findings = engine.findings
        limit = self.fail_on if fail_on is None else parse_severity(fail_on)
        changed = self._changes(build, batch, inspection, loss=loss, name=name, seed=seed)
        self._report(name, inspection, findings, changed)
        failing = [f for f in findings if f.severity.rank >= limit.rank]
        if failing or changed:
            file = None if self.baseline is None else self.baseline.file
            raise InitRegressionError(verdict(failing, changed, file, rules))
        return inspection

    def _changes(
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
                raise UsageError("init_guard: expected the function that builds the model, got a model (--eg-update)")
            others = [inspect_init(build, batch, loss=loss, seed=seed + more) for more in range(1, SEEDS)]
            self.baseline.write(key, certify([inspection, *others]))
            return []
        return changes(self.baseline.read(key), inspection)

    def _report(
        self, name: str, inspection: Inspection, findings: Sequence[Finding], changed: Sequence[Change]
    ) -> None:
        prefix, key = f"init_guard/{name}/" if name else "init_guard/", f"{self.test} {name}".strip()
        for attention in inspection.attention:
            self.report(f"{prefix}{attention.site}/logit_std", f"{attention.logit_std:.6g}")
        for finding in findings:
            self.report(f"{prefix}finding", json.dumps(asdict(result(finding, Judged((), key)))))
        for change in changed:
            self.report(f"{prefix}change", json.dumps(asdict(_changed(change, key))))


def init_guard(
    build: Build | nn.Module,
    batch: object,
    *,
    loss: Loss | None = None,
    fail_on: str = "warning",
    ignore: Sequence[str] = (),
    seed: int = 0,
) -> Inspection:
    """Inspect a model at init and raise if a rule finds a fault, like the pytest fixture of this name.

    Args:
        build: function without arguments that returns the model; or a model, for which the lines that wrote its
            parameters are unknown.
        batch: input of the model: a tensor, a tuple of arguments, or a mapping of keywords.
        loss: function from the output to a scalar, see ``inspect_init``.
        fail_on: lowest severity that raises: ``info``, ``warning`` or ``critical``.
        ignore: codes of rules to leave out, in addition to those of pyproject.toml.
        seed: of the random draws.

    Raises:
        InitRegressionError: if there are findings; it names site, measured value, allowed value, file and line, and
            the fix.
        UsageError: for wrong arguments.

    Example:
        >>> import torch
        >>> init_guard(lambda: nn.Linear(4, 2), torch.randn(8, 4)).never_called
        ()
    """
    guard = InitGuard("", Path.cwd(), parse_severity(fail_on))
    return guard(build, batch, loss=loss, ignore=ignore, seed=seed)


def _changed(change: Change, key: str) -> Result:
    """Return a statistic that differs from its certificate as a finding."""
    identity = fingerprint(CHANGED, f"{change.site} {change.statistic}", "", subject=key)
    return Result(CHANGED, CHANGED_NAME, Severity.WARNING, change.site, str(change), fingerprint=identity, subject=key)


def parse_severity(name: str) -> Severity:
    """Return the severity of this name.

    Raises:
        UsageError: for an unknown name.
    """
    try:
        return Severity(name)
    except ValueError:
        raise UsageError(f"fail_on: expected {', '.join(Severity)}, got {name!r}") from None


def with_marker(guard: InitGuard, *, fail_on: str | None = None, ignore: Sequence[str] = ()) -> InitGuard:
    """Return the guard with the options of a pytest marker."""
    limit = guard.fail_on if fail_on is None else parse_severity(fail_on)
    return replace(guard, fail_on=limit, ignore=[*guard.ignore, *ignore])
