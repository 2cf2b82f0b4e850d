"""What pytest collects: specs, pairs of back ends in them, and quantities of these."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cnnspec.config import Config
from cnnspec.quantities import QUANTITIES, REFERENCE, Quantity

if TYPE_CHECKING:
    from cnnspec.pytest_plugin.checks import Checks

Pair = tuple[str, str]


@dataclass(slots=True)
class Plan:
    """The specs of a run, and how they are checked.

    Attributes:
        settings: of the project.
        backends: that are checked.
        files: of the specs.
        cache: directory of earlier results, if they are used.
        shared: directory where workers leave results for each other, if there are several.
    """

    settings: Config
    backends: tuple[str, ...]
    files: tuple[Path, ...]
    cache: str | None = None
    shared: str | None = None
    _checks: Checks | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def pairs(self) -> list[Pair]:
        """The pairs of back ends; the reference stands beside those that are checked."""
        return list(itertools.combinations(dict.fromkeys((REFERENCE, *self.backends)), 2))

    def checks(self) -> Checks:
        """What runs the checks; frameworks are imported from here on."""
        if self._checks is None:
            from cnnspec.pytest_plugin.checks import Checks

            self._checks = self._stack.enter_context(Checks(self))
        return self._checks

    def share(self) -> str:
        """A directory for results that workers share; it goes when the run ends."""
        if self.shared is None:
            made = tempfile.TemporaryDirectory(prefix="cnnspec-")
            self.shared = self._stack.enter_context(made)
        return self.shared

    def close(self) -> None:
        """End engines, remove directories."""
        self._stack.close()


class CheckFailed(Exception):
    """A check's verdict, in full; there is nothing else to show."""


class SpecFile(pytest.File):
    """A spec."""

    def collect(self) -> Iterator[PairCollector]:
        """The pairs of back ends."""
        from cnnspec.pytest_plugin import PLAN

        for pair in self.config.stash[PLAN].pairs():
            yield PairCollector.from_parent(self, name="-".join(pair), pair=pair)


class PairCollector(pytest.Collector):
    """A pair of back ends, on one spec."""

    def __init__(self, pair: Pair, **options: Any) -> None:
        super().__init__(**options)
        self.pair = pair

    def collect(self) -> Iterator[Case]:
        """The quantities."""
        for quantity in QUANTITIES:
            case = Case.from_parent(self, name=quantity, pair=self.pair, quantity=quantity)
            case.add_marker("cnnspec")
            if self.config.pluginmanager.hasplugin("xdist"):
                # One worker for all cases of a spec, as they are one check.
                case.add_marker(pytest.mark.xdist_group(self.path.as_posix()))
            yield case


class Case(pytest.Item):
    """One quantity of one pair of back ends on one spec."""

    def __init__(self, pair: Pair, quantity: Quantity, **options: Any) -> None:
        super().__init__(**options)
        self.pair = pair
        self.quantity = quantity

    def runtest(self) -> None:
        """Look at what the check of the spec has found, which the first case runs."""
        from cnnspec.api import SpecWarning
        from cnnspec.pytest_plugin import PLAN

        plan = self.config.stash[PLAN]
        found = plan.checks().outcomes(self.path)
        if (self.pair, self.quantity) == (plan.pairs()[0], QUANTITIES[0]):
            for text in found.warnings:
                warnings.warn(text, SpecWarning, stacklevel=1)
        outcome = found.of(self.pair, self.quantity)
        if outcome.failed:
            raise CheckFailed(outcome.text)
        if outcome.skipped:
            pytest.skip(outcome.text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The diagnostic, and no traceback; other exceptions are bugs of ours and keep theirs."""
        from cnnspec.api import SpecWarning

        if isinstance(excinfo.value, CheckFailed | SpecWarning):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is, and what it is called."""
        spec = self.path.name
        return self.path, None, f"{spec} {'-'.join(self.pair)} {self.quantity}"
