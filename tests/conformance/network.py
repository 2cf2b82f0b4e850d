"""A network of cnnspec in the place of a node: its spec, weights, inputs and expected outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.ops.base import AXIS_NAMES
from tests.conformance.case import Case

Array = npt.NDArray[Any]

MOST_AXES = 4
"""Of one sample: channels and three of space."""


class Unsupported(Exception):
    """Cnnspec has no network for this case; the message is the reason."""


@dataclass(slots=True)
class Loss:
    """What a loss is to be, beside the network's outputs.

    Attributes:
        labels: of each sample and position, (N, *space).
        reduction: `mean` or `sum` over all of them, or `none`.
        expected: a number, or one for each label.
        class_weights: for each channel; a mean is divided by those of the labels.
    """

    labels: Array
    reduction: str
    expected: Array
    class_weights: tuple[float, ...] | None = None

    @property
    def weights(self) -> Array:
        """Of each label."""
        weights = self.class_weights
        return np.ones(self.labels.shape) if weights is None else np.array(weights)[self.labels]

    @property
    def spec(self) -> Any:
        """As a spec has it."""
        if self.class_weights is None:
            return "cross_entropy"
        weights = list(self.class_weights)
        return {"cross_entropy": {"class_weights": weights, "weight_norm": "sum_w"}}


@dataclass(slots=True)
class Network:
    """Layers that do what a node does, and what is known of the result.

    A tensor of a case goes in as a batch where ONNX itself has one (`batch`), or as a single
    sample whose first axis is its channels (`sample`), so that layers can work along any axis.

    Attributes:
        exact: whether the node only chooses and moves elements, so that every bit is compared.
        training: the mode it runs in.
        inputs: by name, N, C, then space.
        layers: as in a spec.
        weights: by canonical name.
        outputs: the layer that gives each output.
        expected: by output, N, C, then space.
        statistics: expected running statistics by canonical name.
        loss: what a loss is to be.
        left_out: outputs of the node that cnnspec does not have, with the reason.
        rtol: relative tolerance that the test itself would grant.
        atol: absolute tolerance that the test itself would grant.
    """

    exact: bool = False
    training: bool = False
    inputs: dict[str, Array] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    expected: dict[str, Array] = field(default_factory=dict)
    statistics: dict[str, Array] = field(default_factory=dict)
    loss: Loss | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    rtol: float = 0.0
    atol: float = 0.0

    def batch(self, value: Array) -> str:
        """An input whose first axis is the batch; the name to read it by."""
        if not 2 <= value.ndim <= MOST_AXES + 1:
            raise Unsupported(f"rank: a batch of samples with {value.ndim - 1} axes")
        if not value.size:
            raise Unsupported("an empty tensor: sizes are at least 1")
        name = f"x{len(self.inputs)}"
        self.inputs[name] = value
        return name

    def sample(self, value: Array) -> str:
        """An input that is a single sample; the name to read it by."""
        return self.batch(one_sample(value))

    def layer(self, op: str, *sources: str, **fields: Any) -> str:
        """Add a layer; its name."""
        name = f"{op}_{len(self.layers)}"
        source = sources[0] if len(sources) == 1 else list(sources)
        self.layers.append({op: {"name": name, "from": source, **fields}})
        return name

    def permute(self, source: str, axes: Sequence[int]) -> str:
        """Reorder the axes of a sample, where they are not in that order already."""
        if list(axes) == list(range(len(axes))):
            return source
        return self.layer("permute", source, axes=list(axes))

    def reshape(self, source: str, shape: Sequence[int]) -> str:
        """Give a sample another shape."""
        if not 1 <= len(shape) <= MOST_AXES:
            raise Unsupported(f"rank: a sample with {len(shape)} axes")
        return self.layer("reshape", source, shape=[int(size) for size in shape])

    def output(self, source: str, expected: Array) -> None:
        """Name what a layer gives as an output, and what it is to be."""
        name = f"y{len(self.outputs)}"
        if source in self.inputs:  # nothing is done to it
            source = self.layer("slice", source, channels=[None, None])
        self.outputs[name] = source
        self.expected[name] = np.asarray(expected)

    def output_sample(self, source: str, expected: Array) -> None:
        """The same, where all of it is a single sample."""
        self.output(source, one_sample(expected))

    def spec(self) -> dict[str, Any]:
        """The spec as plain values."""
        found: dict[str, Any] = {
            "cnnspec": 1,
            "name": "node",
            "input": {name: list(value.shape[1:]) for name, value in self.inputs.items()},
            "layers": self.layers,
            "outputs": self.outputs,
        }
        if self.loss is not None:
            found["train"] = {"loss": self.loss.spec, "optimizer": {"sgd": {"lr": 1.0}}}
        return found


def one_sample(value: Array) -> Array:
    """A tensor as a batch of one: a number has one channel, a vector only channels."""
    return np.asarray(value).reshape(1, *(np.shape(value) or (1,)))


def axis_names(rank: int) -> tuple[str, ...]:
    """What a spec calls the axes of a sample with so many."""
    return ("channels", *AXIS_NAMES.get(rank - 1, ()))


def positive(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


def to_front(axis: int, rank: int) -> tuple[list[int], list[int]]:
    """The permutation that puts an axis first, and the one that puts it back."""
    axes = [axis, *(other for other in range(rank) if other != axis)]
    return axes, [axes.index(other) for other in range(rank)]


def count(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(int(size) for size in shape)


def auxiliary(case: Case, network: Network, reason: str) -> Network:
    """Leave out every output of a node but the first."""
    network.left_out = dict.fromkeys(list(case.outputs)[1:], reason)
    return network
