"""The op protocol: a strict pydantic model with a pure shape rule, and the registry of ops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from cnnspec.ops.homes import homes, import_home
from cnnspec.ops.initializer import Initializer, Ones, Orthogonal, Zeros
from cnnspec.window import Window

Shape = tuple[int, ...]
"""Channels (or features), then space; the batch is implied."""

SPATIAL_LETTERS = {0: "", 1: "W", 2: "HW", 3: "DHW"}
AXIS_NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


class Reject(Exception):  # it is the answer of a shape rule, and no fault of ours
    """Why an op does not accept its inputs: the field at fault, the fault, what would mend it."""

    def __init__(self, field: str | None, message: str, help: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.help = help


@dataclass(frozen=True, slots=True)
class Param:
    """A tensor that a layer owns.

    Attributes:
        name: its name inside the layer, `weight`.
        shape: in the canonical layout.
        layout: an axis letter each: O output, I input channels, D H W space, C channels.
        init: how it starts.
        trainable: false for running statistics and frozen weights.
        statistic: whether it is a running statistic, set by data and not by gradients.
        fan_in: inputs that reach one output, for scaled initializers.
        fan_out: outputs that one input reaches.
    """

    name: str
    shape: Shape
    layout: str
    init: Initializer
    trainable: bool = True
    statistic: bool = False
    fan_in: int = 0
    fan_out: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.init, Orthogonal) and len(self.shape) < 2:
            raise Reject(
                f"{self.name}_init",
                f"`orthogonal` starts a matrix, and this `{self.name}` is a vector",
                "`normal` or `uniform` start a vector at random",
            )

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Inferred:
    """What a shape rule finds: the output's shape, the parameters, and remarks for the user."""

    shape: Shape
    params: tuple[Param, ...] = ()
    warnings: tuple[Reject, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """Number of terms summed into one element: of the output, an input gradient, a parameter's."""

    output: int
    input: int
    params: Mapping[str, int] = field(default_factory=dict)


class Op(BaseModel):
    """An op as written in a spec. Subclasses add fields and the shape rule.

    Class attributes:
        key: its name in a spec.
        arity: least and most number of inputs; most None where there is no limit.
        bound: how its rounding error is bounded: "linear" in each argument, so that the same op
            on absolute values bounds it, or by "perturbation" of its inputs.
        rounding: for "perturbation" the constant c of c*u*|y|, measured.
        amplification: for "perturbation" how much further than its inputs' perturbation the
            roundings inside it may carry an answer, measured.
        exact: whether each element of its value is one of an input's, or a constant, so that
            nothing is rounded on the way forward.
        cancels: whether its terms may be as large as its input while its value is small.
        kinks: input values at which the derivative jumps.
        selects: whether it selects among inputs, so that ties matter.
        random: whether it draws random numbers in training.
        one_rank: whether its parameters, shared, serve inputs of one number of axes only.
        whole: whether one element of the output depends on all of space.
        part: the op of the nodes that a layer stands for, None where it is one node itself.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)

    key: ClassVar[str]
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    bound: ClassVar[Literal["linear", "perturbation"]] = "perturbation"
    rounding: ClassVar[float] = 8.0
    amplification: ClassVar[float] = 10.0
    exact: ClassVar[bool] = False
    cancels: ClassVar[bool] = False
    kinks: ClassVar[tuple[float, ...]] = ()
    selects: ClassVar[bool] = False
    random: ClassVar[bool] = False
    one_rank: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    part: ClassVar[type[Op] | None] = None

    def infer(self, *shapes: Shape) -> Inferred:
        """Output shape and parameters for these input shapes, or `Reject`; pure."""
        raise NotImplementedError(f"{type(self).__name__} has no shape rule")

    def parts(self, shape: Shape) -> tuple[Op, ...] | None:
        """The ops of the nodes that this layer stands for, of class `part`, or None; `Reject`."""
        return None

    def bound_to_size(self, shape: Shape) -> bool:
        """Whether the text written for this op is right for this input size only."""
        return False

    def window(self, shape: Shape) -> Window | None:
        """The window that slides over an input of this shape; None for ops that have none."""
        return None

    def macs(self, inputs: tuple[Shape, ...], output: Shape) -> int:
        """Multiply-accumulates per sample; only convolutions and dense layers have any."""
        return 0

    def removes(self, shape: Shape, varies: frozenset[str]) -> bool:
        """Whether a shift of an input that differs along these axes only changes nothing.

        Args:
            shape: of the input.
            varies: axis letters, C for the channels; axes of size 1 are not among them.
        """
        return False

    def identity(self, shape: Shape) -> bool:
        """Whether in inference its value is its input, whatever the sizes of its axes.

        Args:
            shape: of the input.
        """
        return False

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Reduction lengths, for ops whose bound is "linear"."""
        return Lengths(1, 1)

    def common(self, shape: Shape) -> tuple[Shape, tuple[int, ...]] | None:
        """What elements have in common that one rounding moves: a mean, a variance, a sum.

        Args:
            shape: of the input.

        Returns:
            A view of a sample, and the axes of (batch, *view) along which elements share it.
        """
        return None

    def fields(self) -> dict[str, object]:
        """Every field with its value, defaults filled in, in the order of definition."""
        return {name: getattr(self, name) for name in type(self).model_fields}


OpT = TypeVar("OpT", bound=Op)

_REGISTRY: dict[str, type[Op]] = {}


def op(key: str) -> Callable[[type[OpT]], type[OpT]]:
    """Register an op class under its name in a spec; a second owner of a name raises."""

    def register(cls: type[OpT]) -> type[OpT]:
        if lookup(key) is not None:
            other = _REGISTRY[key]
            raise ValueError(
                f"op {key!r} is defined by both {other.__module__}.{other.__qualname__} "
                f"and {cls.__module__}.{cls.__qualname__}"
            )
        if not (cls.__doc__ or "").strip():
            raise ValueError(f"op {key!r} needs a docstring that states its formula")
        cls.key = key
        _REGISTRY[key] = cls
        return cls

    return register


def lookup(key: str) -> type[Op] | None:
    """The op class of this name, or None."""
    if key not in _REGISTRY:
        import_home(key)
    return _REGISTRY.get(key)


def registered() -> Iterator[type[Op]]:
    """Every op class, by name."""
    for key in homes():
        lookup(key)
    return iter([_REGISTRY[key] for key in sorted(_REGISTRY)])


def spatial(shape: Shape) -> Shape:
    """The spatial part of a shape."""
    return shape[1:]


def require_space(shape: Shape, what: str) -> None:
    """Reject inputs without one to three spatial axes."""
    if not 1 <= len(shape) - 1 <= 3:
        raise Reject(
            None,
            f"{what} needs an input with 1 to 3 spatial axes, and this one is {show(shape)}",
            "the input of a network is [channels, length], [channels, height, width] or "
            "[channels, depth, height, width]",
        )


def show(shape: Shape) -> str:
    """A shape as people write it, `64x56x56`."""
    return "x".join(str(n) for n in shape)


def statistics(channels: int) -> tuple[Param, ...]:
    """The running mean and variance of a batch norm."""
    return (
        Param("running_mean", (channels,), "C", Zeros(), trainable=False, statistic=True),
        Param("running_var", (channels,), "C", Ones(), trainable=False, statistic=True),
    )
