"""How a parameter starts, as written in a spec: `he_normal`, or `{normal: {std: 0.05}}`.

These classes say what is drawn; `cnnspec.initializers` draws it, each backend spells it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from cnnspec.diagnostics import did_you_mean
from cnnspec.quote import quoted

Finite = Annotated[float, Field(allow_inf_nan=False)]


TRUNCATION = 0.87962566103423978
"""Standard deviation of a standard normal that is cut at two standard deviations."""


class Initializer(BaseModel):
    """One way to start; subclasses are the vocabulary."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)

    key: ClassVar[str]


class Zeros(Initializer):
    """All 0."""

    key = "zeros"


class Ones(Initializer):
    """All 1."""

    key = "ones"


class Constant(Initializer):
    """All `value`."""

    key = "constant"
    value: Finite


class Normal(Initializer):
    """N(mean, std^2)."""

    key = "normal"
    std: Annotated[Finite, Field(gt=0)] = 1.0
    mean: Finite = 0.0


class TruncatedNormal(Initializer):
    """N(mean, std^2) with everything beyond two standard deviations drawn again."""

    key = "truncated_normal"
    std: Annotated[Finite, Field(gt=0)] = 1.0
    mean: Finite = 0.0


class Uniform(Initializer):
    """U(low, high)."""

    key = "uniform"
    low: Finite
    high: Finite


class Orthogonal(Initializer):
    """`gain` times a random orthogonal matrix of shape (outputs, inputs * kernel)."""

    key = "orthogonal"
    gain: Annotated[Finite, Field(gt=0)] = 1.0


class Scaled(Initializer):
    """A distribution whose variance is scale / fan."""

    def scale(self) -> float:
        """The variance times the fan."""
        raise NotImplementedError

    def fan(self, fan_in: int, fan_out: int) -> float:
        """The fan that divides the scale."""
        raise NotImplementedError

    def std(self, fan_in: int, fan_out: int) -> float:
        """Standard deviation of the values."""
        return math.sqrt(self.scale() / self.fan(fan_in, fan_out))

    def limit(self, fan_in: int, fan_out: int) -> float:
        """Bound of the uniform form, the square root of 3 standard deviations."""
        return math.sqrt(3.0 * self.scale() / self.fan(fan_in, fan_out))


class _He(Scaled):
    mode: Literal["fan_in", "fan_out"] = "fan_in"
    slope: Annotated[Finite, Field(ge=0)] = 0.0

    def scale(self) -> float:
        return 2.0 / (1.0 + self.slope**2)

    def fan(self, fan_in: int, fan_out: int) -> float:
        return fan_in if self.mode == "fan_in" else fan_out


class HeNormal(_He):
    """N(0, 2 / fan), for layers followed by ReLU (slope: of a leaky one)."""

    key = "he_normal"
    truncated: bool = False


class HeUniform(_He):
    """U(-b, b) with b = sqrt(6 / fan)."""

    key = "he_uniform"


class _Glorot(Scaled):
    gain: Annotated[Finite, Field(gt=0)] = 1.0

    def scale(self) -> float:
        return self.gain**2

    def fan(self, fan_in: int, fan_out: int) -> float:
        return (fan_in + fan_out) / 2


class GlorotNormal(_Glorot):
    """N(0, 2 / (fan_in + fan_out))."""

    key = "glorot_normal"
    truncated: bool = False


class GlorotUniform(_Glorot):
    """U(-b, b) with b = sqrt(6 / (fan_in + fan_out))."""

    key = "glorot_uniform"


class _Lecun(Scaled):
    def scale(self) -> float:
        return 1.0

    def fan(self, fan_in: int, fan_out: int) -> float:
        return fan_in


class LecunNormal(_Lecun):
    """N(0, 1 / fan_in)."""

    key = "lecun_normal"
    truncated: bool = False


class LecunUniform(_Lecun):
    """U(-b, b) with b = sqrt(3 / fan_in)."""

    key = "lecun_uniform"


class _Torch(Scaled):
    def scale(self) -> float:
        return 1.0 / 3.0

    def fan(self, fan_in: int, fan_out: int) -> float:
        return fan_in


class TorchDefault(_Torch):
    """U(-b, b) with b = 1 / sqrt(fan_in), which torch uses for weights and biases alike."""

    key = "torch_default"


INITIALIZERS: dict[str, type[Initializer]] = {
    cls.key: cls
    for cls in (
        Zeros,
        Ones,
        Constant,
        Normal,
        TruncatedNormal,
        Uniform,
        Orthogonal,
        HeNormal,
        HeUniform,
        GlorotNormal,
        GlorotUniform,
        LecunNormal,
        LecunUniform,
        TorchDefault,
    )
}


def read_initializer(value: object) -> Initializer:
    """An initializer from its spelling in a spec."""
    if isinstance(value, Initializer):
        return value
    fields: object = {}
    if isinstance(value, str):
        key = value
    elif isinstance(value, dict) and len(value) == 1:
        key, fields = next(iter(value.items()))
        fields = {} if fields is None else fields
    else:
        raise PydanticCustomError(
            "initializer", "an initializer is a name, or a name over its fields"
        )
    if key not in INITIALIZERS:
        raise PydanticCustomError(
            "initializer",
            "unknown initializer {key}",
            {"key": quoted(str(key)), "help": did_you_mean(str(key), list(INITIALIZERS))},
        )
    if not isinstance(fields, dict):
        raise PydanticCustomError(
            "initializer", "the fields of `{key}` are a mapping", {"key": key}
        )
    try:
        made = INITIALIZERS[key].model_validate(fields)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PydanticCustomError(
            "initializer",
            "{where} of `{key}`: {fault}",
            {"where": quoted(where), "key": key, "fault": first["msg"].lower()},
        ) from None
    if isinstance(made, Uniform) and not made.low < made.high:
        raise PydanticCustomError("initializer", "`low` of `uniform` is not below `high`")
    return made


def _schema() -> dict[str, Any]:
    return {
        "anyOf": [
            {"enum": sorted(INITIALIZERS)},
            {"type": "object", "minProperties": 1, "maxProperties": 1},
        ]
    }


Init = Annotated[Initializer, PlainValidator(read_initializer), WithJsonSchema(_schema())]
"""A field that holds an initializer."""


def holds_initializer(annotation: object) -> bool:
    """Whether a field of this type is an `Init`, or one that may be null."""
    return annotation is Initializer or any(map(holds_initializer, get_args(annotation)))


def parts(init: Initializer) -> Iterator[tuple[str, object]]:
    """Fields that differ from their defaults, for spelling it again."""
    for name, info in type(init).model_fields.items():
        value = getattr(init, name)
        if info.is_required() or value != info.default:
            yield name, value
