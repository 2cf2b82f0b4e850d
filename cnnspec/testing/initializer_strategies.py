"""How the fields of each initializer are drawn."""

from __future__ import annotations

from cnnspec.ops import initializer as init
from cnnspec.testing import choices as st
from cnnspec.testing.strategies import INITIALIZERS, Draw, Fields, literals, one_of, some


@INITIALIZERS(init.Zeros, init.Ones, init.LecunUniform, init.TorchDefault)
def _no_fields(draw: Draw) -> Fields:
    return {}


@INITIALIZERS(init.Constant)
def _constant(draw: Draw) -> Fields:
    return {"value": draw(one_of(0.1, -0.5, 1))}


@INITIALIZERS(init.Normal, init.TruncatedNormal)
def _normal(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, std=one_of(0.5, 0.05), mean=one_of(0.25, -0.1))
    return found


@INITIALIZERS(init.Uniform)
def _uniform(draw: Draw) -> Fields:
    return {"low": draw(one_of(-0.5, 0, -1)), "high": draw(one_of(0.5, 1))}


@INITIALIZERS(init.Orthogonal)
def _orthogonal(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, gain=one_of(0.5, 2))
    return found


@INITIALIZERS(init.HeUniform)
def _he_uniform(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, mode=literals(init.HeUniform, "mode"), slope=one_of(0.2, 1))
    return found


@INITIALIZERS(init.HeNormal)
def _he_normal(draw: Draw) -> Fields:
    found = _he_uniform(draw)
    some(draw, found, truncated=st.booleans())
    return found


@INITIALIZERS(init.GlorotUniform)
def _glorot_uniform(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, gain=one_of(0.5, 1.5))
    return found


@INITIALIZERS(init.GlorotNormal)
def _glorot_normal(draw: Draw) -> Fields:
    found = _glorot_uniform(draw)
    some(draw, found, truncated=st.booleans())
    return found


@INITIALIZERS(init.LecunNormal)
def _lecun(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, truncated=st.booleans())
    return found
