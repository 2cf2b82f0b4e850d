"""What two answers that differ look like, kept for the one difference that a report names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.check.compare import Comparison
from cnnspec.check.hints import MOST_ELEMENTS, Setting, counts_of, hints
from cnnspec.check.histogram import Histogram, histogram
from cnnspec.graph import Graph
from cnnspec.ops.base import AXIS_NAMES

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

LETTERS = {
    "O": "output channel",
    "I": "input channel",
    "C": "channel",
    "D": "depth",
    "H": "height",
    "W": "width",
}


@dataclass(frozen=True, slots=True)
class Details:
    """What a difference looks like: how many elements are how wrong, and in which pattern."""

    histogram: Histogram
    hints: tuple[str, ...] = ()


def precedence(graph: Graph) -> Callable[[Comparison], tuple[int, int, int, int]]:
    """An order of wrong comparisons, the one that says most about the fault first."""
    order = {name: i for i, name in enumerate(graph.users())}
    last = {node.weights_id: order[node.id] for node in graph.nodes}  # to use parameters
    rank = {"forward": 0, "running_statistics": 1, "input_gradient": 2, "parameter_gradient": 2}

    def key(one: Comparison) -> tuple[int, int, int, int]:
        isolated = 0 if one.mode in ("isolated", "probe") else 1
        stepped = 1 if one.quantity == "step" else 2 if one.mode == "after_training" else 0
        single = 0 if one.dtype == "float64" else 1
        place = order.get(one.node, len(order))
        if one.quantity == "parameter_gradient":  # which all that share it add to
            place = last.get(one.node, place)
        first_wrong = rank.get(one.quantity, 3)
        if stepped:
            place, first_wrong = _moment(one), place
        elif isolated:
            # End to end everything behind a fault is wrong, and gradients in front of it.
            place, first_wrong = first_wrong, place
        return (single, isolated + stepped, place, first_wrong)

    return key


def _moment(step: Comparison) -> int:
    """In a run of updates what comes first: the rates, then a loss, then the weights after it."""
    if step.update is None:
        return 0
    return 2 * step.update + (1 if step.name == "loss" else 2)


class Evidence:
    """Details of the difference that takes precedence so far.

    They are made while both answers are at hand: afterwards nothing is left of these but numbers.
    """

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._key = precedence(checker.graph)
        self._found: tuple[Comparison, Details] | None = None

    def consider(self, one: Comparison, a: Array, b: Array, bound: Any, **scale: float) -> None:
        """Look at two answers that have been compared, if this difference takes precedence."""
        if one.agree or not one.judged:
            return
        if self._found is None or self._key(one) < self._key(self._found[0]):
            self.look(one, a, b, bound, **scale)

    def look(
        self,
        one: Comparison,
        a: Array,
        b: Array,
        bound: Any,
        *,
        unit: float = 1.0,
        floor: float = 0.0,
    ) -> None:
        """Look at two answers that differ by more than `unit * bound + floor`."""
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            return
        found = histogram(a, b, np.asarray(bound), unit, floor)
        patterns: tuple[str, ...] = ()
        if a.size <= MOST_ELEMENTS:
            limit = np.broadcast_to(unit * np.asarray(bound, np.float64) + floor, a.shape)
            patterns = hints(a, b, limit, self._setting(one, a))
        self._found = one, Details(found, patterns)

    def keep(self, comparisons: Collection[Comparison]) -> None:
        """Forget what is not among these: inputs have been drawn again."""
        if self._found is not None and not any(c is self._found[0] for c in comparisons):
            self._found = None

    def of(self, one: Comparison) -> Details | None:
        """Details of a comparison, None where they were not kept."""
        return self._found[1] if self._found is not None and self._found[0] is one else None

    def _setting(self, one: Comparison, a: Array) -> Setting:
        graph = self._checker.graph
        param = graph.params().get(one.name)
        nodes = {node.id: node for node in graph.nodes}
        batch = self._checker.batch_size()
        read = nodes[one.node].input_shapes if one.node in nodes else ()
        counts = {n for shape in read for n in counts_of((batch, *shape))}
        if param is not None:
            axes = tuple(LETTERS.get(letter, letter) for letter in param.layout)
            space = tuple(i for i, letter in enumerate(param.layout) if letter in "DHW")
            moved = param.statistic or (one.quantity == "step" and one.update == 0)
            before = self._checker.weights[one.name] if moved else None
            return Setting(one.backends, axes, space, counts, before)
        if a.ndim < 2:
            return Setting(one.backends, tuple(f"axis {i}" for i in range(a.ndim)))
        names = AXIS_NAMES.get(a.ndim - 2, ())
        axes = ("sample", "channel", *names) if names else ("sample", "feature")
        axes += tuple(f"axis {i}" for i in range(len(axes), a.ndim))
        return Setting(one.backends, axes, tuple(range(2, a.ndim)), counts)
