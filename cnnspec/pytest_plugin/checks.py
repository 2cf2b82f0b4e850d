"""Runs the check of a spec once, and says what it comes to for each case.

Workers of xdist share what they find through a directory: whoever comes first to a spec checks it,
and the others wait for that, however cases are spread over workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel

from cnnspec import files
from cnnspec.check.api import require
from cnnspec.check.cache import Cache
from cnnspec.check.engines import Engine, engines
from cnnspec.check.files import Request, check_file
from cnnspec.check.formats.groups import Group, fault
from cnnspec.check.options import Options, SpecReport
from cnnspec.check.report import diagnostics_of
from cnnspec.check.run import needs_process
from cnnspec.diagnostics import Diagnostic, UserError
from cnnspec.pytest_plugin.items import Pair, Plan
from cnnspec.quantities import QUANTITIES, Quantity
from cnnspec.render import render


class Outcome(BaseModel):
    """What a check comes to for one case: it failed, was skipped, or neither."""

    failed: bool = False
    skipped: bool = False
    text: str = ""


class Outcomes(BaseModel):
    """What the check of a spec comes to.

    Attributes:
        cases: by pair and quantity.
        warnings: of the spec.
    """

    cases: dict[str, Outcome]
    warnings: list[str] = []

    def of(self, pair: Pair, quantity: Quantity) -> Outcome:
        """That of one case."""
        return self.cases[_name(pair, quantity)]


class Checks:
    """Checks specs when they are asked for, each once, with engines that live as long."""

    def __init__(self, plan: Plan) -> None:
        settings = plan.settings
        self.plan = plan
        self.request = Request(
            Options(
                backends=plan.backends,
                dtypes=("float64", "float32") if settings.dtype is None else (settings.dtype,),
                seed=settings.seed,
                steps=settings.steps,
                reduce=settings.reduce,
                graph=settings.graph,
            )
        )
        self._cache = None if plan.cache is None else Cache(plan.cache)
        self._known: dict[Path, Outcomes] = {}
        self._stack = ExitStack()
        self._engines: dict[str, Engine] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def outcomes(self, path: Path) -> Outcomes:
        """What the check of a spec comes to."""
        if path not in self._known:
            shared = self.plan.shared
            if shared is None or not os.path.isdir(shared):  # a worker on another machine
                self._known[path] = self._outcomes(path)
            else:
                name = sha256(os.fsencode(path)).hexdigest()
                self._known[path] = self._shared(path, Path(shared) / f"{name}.json")
        return self._known[path]

    def _shared(self, path: Path, file: Path) -> Outcomes:
        with _alone(file.with_suffix(".lock")):
            if file.exists():
                return Outcomes.model_validate_json(file.read_bytes())
            found = self._outcomes(path)
            files.write_text(file, found.model_dump_json())
            return found

    def _outcomes(self, path: Path) -> Outcomes:
        return outcomes(self._check(os.path.relpath(path)), self.plan.pairs())

    def _check(self, path: str) -> SpecReport:
        cache = self._cache
        try:
            known = None if cache is None else cache.find(path, self.request)
            if known is not None:
                return known
            if self._engines is None:
                require(self.request.options)
                names = needs_process(self.request.options)
                self._engines = self._stack.enter_context(engines(names, in_process=False))
        except UserError as error:
            return SpecReport(path, "environment", diagnostics=list(error.diagnostics))
        report = check_file(path, self.request, self._engines)
        if cache is not None:
            cache.keep(path, self.request, report)
            report.diagnostics += cache.warnings
            cache.warnings = []
        return report


def outcomes(report: SpecReport, pairs: Sequence[Pair]) -> Outcomes:
    """What a report comes to for each case.

    A comparison counts for every pair that has all of its back ends: a learning rate that is not
    the spec's is a fault of each pair with that back end. Where a report does not agree some case
    fails in any case.
    """
    errors = [found for found in diagnostics_of(report) if found.severity == "error"]
    cases = {
        _name(pair, quantity): _outcome(report, pair, quantity, errors)
        for pair in pairs
        for quantity in QUANTITIES
    }
    if not report.agree and not any(case.failed for case in cases.values()):
        cases = dict.fromkeys(cases, Outcome(failed=True, text=_shown(report, errors)))
    warnings = [found for found in report.diagnostics if found.severity == "warning"]
    return Outcomes(cases=cases, warnings=[render([found], "concise") for found in warnings])


def _outcome(
    report: SpecReport, pair: Pair, quantity: Quantity, errors: Sequence[Diagnostic]
) -> Outcome:
    group = Group(
        pair,
        quantity,
        tuple(
            c
            for c in report.comparisons
            if c.quantity == quantity and set(c.backends) - {"spec"} <= set(pair)
        ),
    )
    wrong = fault(group, report)
    if wrong is not None:
        return Outcome(failed=True, text=_shown(report, [wrong]))
    if report.status not in ("agree", "disagree"):
        # An engine that failed is the fault of its pairs, and the others' results stand.
        failed = [e for e in errors if any(e.message.startswith(f"{name}: ") for name in pair)]
        if report.status != "engine_failed" or not group.judged:
            failed = list(errors)
        if failed:
            return Outcome(failed=True, text=_shown(report, failed))
    if not group.judged:
        return Outcome(skipped=True, text=group.reason() or "there is nothing to compare")
    return Outcome()


def _shown(report: SpecReport, errors: Sequence[Diagnostic]) -> str:
    parts = [render(errors)] if errors else [f"{report.spec}: {report.status}"]
    return "\n".join([*parts, *(f"note: {note}" for note in report.notes)])


def _name(pair: Pair, quantity: Quantity) -> str:
    return f"{'-'.join(pair)}::{quantity}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock, which goes with this process; where there are none each does its own work."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
