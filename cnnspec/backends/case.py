"""A case that shows a fault of a back end, with its numbers, and what scripts of it share."""

from __future__ import annotations

import pprint
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends.base import Slot, Style
from cnnspec.graph import Graph

Array = npt.NDArray[Any]

MOST_INLINE = 48
"""Elements of a tensor that a script spells out; larger ones are drawn by NumPy."""
MOST_EXPECTED = 2 * MOST_INLINE
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Number:
    """A tensor of a script.

    Attributes:
        value: in the canonical layout.
        code: the Python that makes it as a NumPy array.
        drawn: whether `rng` makes it, so that the order of such tensors matters.
    """

    value: Array
    code: str
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One network on one batch, and what is wrong with it.

    Attributes:
        graph: the network; it trains if the fault is one of a step.
        style: of the text that is wrong.
        quantity: what is wrong: forward, input_gradient, parameter_gradient,
            running_statistics or step.
        name: of the tensor: an input, a layer, a parameter, `loss` or `learning_rate`.
        training: whether in training mode.
        dtype: of the arithmetic that is wrong, "float64" or "float32".
        worst: the index of the worst element, in the canonical layout.
        inputs: N, C, space, by name.
        weights: canonical, by name.
        cotangents: of the outputs, by name.
        targets: of the update's batch, by output name; empty where the fault is none of a step.
        expected: the tensor that is wrong, as the reference has it, canonical.
        tolerance: an absolute error that is far more than rounding, and far less than the fault.
        steps: how many updates are made on the same batch; 0 where the fault is none of a step.
        per_epoch: updates of an epoch, for the learning rate.
    """

    graph: Graph
    style: Style
    quantity: str
    name: str
    training: bool
    dtype: str
    worst: tuple[int, ...]
    inputs: Mapping[str, Number]
    weights: Mapping[str, Number]
    cotangents: Mapping[str, Number]
    targets: Mapping[str, Number]
    expected: Array
    tolerance: float
    steps: int
    per_epoch: int

    @property
    def output(self) -> str:
        """The output whose value is wrong; the first where a layer in front of them is."""
        names = {output.value.id: output.name for output in self.graph.outputs}
        return names.get(self.name, self.graph.outputs[0].name)

    @property
    def input(self) -> str:
        """The input whose gradient is wrong; the first where that of a layer behind them is."""
        names = [entry.name for entry in self.graph.inputs]
        return self.name if self.name in names else names[0]

    def two_modes(self) -> set[str]:
        """The layers that do something else in training."""
        return {
            node.id
            for node in self.graph.nodes
            if node.op.random or any(param.statistic for param in node.params)
        }

    def arrays(self) -> Iterator[Number]:
        """Every tensor that a generator makes, in its order."""
        for group in (self.inputs, self.weights, self.cotangents, self.targets):
            yield from (number for number in group.values() if number.drawn)


def written(value: Array) -> str:
    """An array as nested lists; what is not finite is no literal, and cannot be expected."""
    text = pprint.pformat(np.asarray(value).tolist(), width=WIDTH - 8, compact=True)
    return text.replace("nan", "np.nan").replace("inf", "np.inf")


def headline(about: str) -> str:
    """The docstring: what is wrong. The text has passed no spec: it is numbers and own words."""
    return f'"""{about}"""'


def printed(head: str, code: str, tail: str) -> Iterator[str]:
    """One statement, on one line where it fits."""
    line = head + code + tail
    if len(line) <= WIDTH or not code.startswith(("[", "{")):
        yield line
        return
    yield head
    last = "" if tail == ")" else ","
    yield from (f"    {part}" for part in f"{code}{last}".splitlines())
    rest = tail.removesuffix(")").removeprefix(", ")
    if rest:
        yield f"    {rest},"
    yield ")"


def code_in(number: Number, slot: Slot | None = None) -> str:
    """A tensor in a framework's own layout: nested lists, or what draws it."""
    if not number.drawn:
        return written(number.value if slot is None else slot.store(number.value))
    code = f"({number.code})"
    if slot is not None and slot.permutation != tuple(range(len(slot.permutation))):
        code += f".transpose{slot.permutation}"
    if slot is not None and slot.own is not None:
        code += f".reshape{slot.own}"
    return code


@dataclass(frozen=True, slots=True)
class Picked:
    """What is compared: a tensor, or some of its elements and the index that takes them."""

    value: Array
    index: str


def picked(expected: Array, case: Case, *, own: bool) -> Picked:
    """A tensor if it is small; else the worst element and others all over it.

    Args:
        expected: in the framework's layout.
        case: what it is of.
        own: whether that is the canonical one, in which the worst element is known.
    """
    if expected.size <= MOST_EXPECTED:
        return Picked(expected, "")
    worst = case.worst
    places = list(np.linspace(0, expected.size - 1, MOST_INLINE).astype(int).tolist())
    fits = len(worst) == expected.ndim and np.all(np.less(worst, expected.shape))
    if own and fits:
        places.insert(0, int(np.ravel_multi_index(worst, expected.shape)))
    return Picked(expected.reshape(-1)[places], f".reshape(-1)[{places}]")
