"""The emitted Keras file's own initial values, as arguments of its layers."""

from __future__ import annotations

from typing import Any

from cnnspec.backends.holders import Holder
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.precision import is_float32
from cnnspec.backends.writer import Code, call, literal
from cnnspec.graph import Node
from cnnspec.ops import initializer as init
from cnnspec.ops.activation import PRelu
from cnnspec.ops.base import Op, Param
from cnnspec.ops.conv import Conv
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.dense import Dense
from cnnspec.ops.rbf import Rbf
from cnnspec.ops.scale import LayerScale


def options(
    node: Node[Any] | Holder, weight: str, bias: str = "bias_initializer"
) -> dict[str, Code]:
    """The initializers that differ from the layer's own, by the names of its arguments."""
    found = {}
    for param in node.params:
        if param.statistic:
            continue
        spelled = spell(node.op, param)
        if spelled is not None:
            found[weight if param.name == "weight" else bias] = spelled
    return found


def default(op: Op, param: Param) -> init.Initializer | None:
    """What the layer starts this parameter with when it is not told; None for what no spec has."""
    starts = COLUMN.starts(type(op))
    if starts is not None:
        return starts.get(param.name)
    if param.name == "bias":
        return init.Zeros()
    if _depthwise(op, param):
        return None
    if isinstance(op, (Conv, ConvTranspose, Dense)):
        return init.GlorotUniform()
    if isinstance(op, PRelu):
        return init.Constant(value=0.25)
    if isinstance(op, Rbf):
        return init.Normal()
    if isinstance(op, LayerScale):
        return init.Constant(value=1e-6)
    return init.Ones()


def spell(op: Op, param: Param) -> Code | None:
    """The initializer of a parameter, None where it is the layer's own."""
    made = param.init
    if made == default(op, param):
        return None
    match made:
        case init.Zeros():
            return literal("zeros")
        case init.Ones():
            return literal("ones")
        case init.Constant():
            # Keras rounds a Python float to float32, and leaves NumPy's as it is.
            exact = is_float32(made.value)
            value = literal(made.value) if exact else call("np.float64", made.value)
            return call("initializers.Constant", value)
        case init.Normal():
            mean = {"mean": made.mean} if made.mean else {}
            return call("initializers.RandomNormal", **mean, stddev=made.std)
        case init.Uniform():
            return call("initializers.RandomUniform", made.low, made.high)
        case init.TruncatedNormal():
            mean = {"mean": made.mean} if made.mean else {}
            return call("initializers.TruncatedNormal", **mean, stddev=made.std)
        case init.Orthogonal():
            gain = [made.gain] if made.gain != 1 else []
            return call("initializers.Orthogonal", *gain)
        case init.Scaled():
            return _scaled(made, op, param)
        case _:
            raise TypeError(f"no spelling for {made!r}")


NAMED: tuple[tuple[init.Scaled, Code], ...] = (
    (init.HeNormal(), Code("he_normal()")),
    (init.HeNormal(truncated=True), literal("he_normal")),
    (init.HeUniform(), literal("he_uniform")),
    (init.GlorotNormal(), Code("glorot_normal()")),
    (init.GlorotNormal(truncated=True), literal("glorot_normal")),
    (init.GlorotUniform(), literal("glorot_uniform")),
    (init.LecunNormal(), Code("lecun_normal()")),
    (init.LecunNormal(truncated=True), literal("lecun_normal")),
    (init.LecunUniform(), literal("lecun_uniform")),
)


def _scaled(made: init.Scaled, op: Op, param: Param) -> Code:
    normal = isinstance(made, (init.HeNormal, init.GlorotNormal, init.LecunNormal))
    truncated = bool(getattr(made, "truncated", False))
    if (
        len(param.shape) < 2
        or not isinstance(op, (Conv, ConvTranspose, Dense))
        or _depthwise(op, param)
    ):
        # Keras sees the fans of kernels alone, and those of a depthwise one as multiples.
        fans = (param.fan_in, param.fan_out)
        if truncated:
            return call("initializers.TruncatedNormal", stddev=made.std(*fans) / init.TRUNCATION)
        if normal:
            return call("initializers.RandomNormal", stddev=made.std(*fans))
        limit = made.limit(*fans)
        return call("initializers.RandomUniform", -limit, limit)
    for known, name in NAMED:
        if made == known:
            return name
    kind = "truncated_normal" if truncated else "untruncated_normal" if normal else "uniform"
    mode = "fan_in"
    if isinstance(made, (init.GlorotNormal, init.GlorotUniform)):
        mode = "fan_avg"
    elif isinstance(made, (init.HeNormal, init.HeUniform)):
        mode = made.mode
    return call("initializers.VarianceScaling", made.scale(), mode, kind)


def _depthwise(op: Op, param: Param) -> bool:
    return isinstance(op, Conv) and op.groups > 1 and param.shape[1] == 1
