"""How the fields of activations and random layers are drawn."""

from __future__ import annotations

from cnnspec.ops import activation, dropout, scale
from cnnspec.ops.base import Shape
from cnnspec.testing.strategies import OPS, Draw, Fields, initializers, one_of, some

__all__: list[str] = []


@OPS(
    activation.LogSoftmax,
    activation.Relu6,
    activation.GeluTanh,
    activation.Mish,
    activation.Softplus,
    activation.Softsign,
    activation.LogSigmoid,
    activation.HardSigmoid,
    activation.HardSwish,
    activation.HardTanh,
)
def _bare(draw: Draw, shape: Shape) -> Fields:
    return {}


@OPS(activation.Celu)
def _celu(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(draw, found, alpha=one_of(0.5, 0.7, 1.75))
    return found


@OPS(dropout.SpatialDropout, dropout.AlphaDropout)
def _random(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(draw, found, p=one_of(0.25, 0.9, 0, 1))
    return found


@OPS(dropout.StochasticDepth)
def _stochastic_depth(draw: Draw, shape: Shape) -> Fields:
    return {"p": draw(one_of(0.25, 0.9, 0, 1))}


@OPS(scale.LayerScale)
def _layer_scale(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(draw, found, weight_init=initializers(vector=True))
    return found
