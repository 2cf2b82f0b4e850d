"""Transposed, depthwise and separable convolutions: definitions, laws, and all back ends alike."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnspec.backends import get
from cnnspec.check import check, samples
from cnnspec.graph import Graph
from cnnspec.ops.base import Op, Shape
from cnnspec.ops.conv import Conv
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.testing import check_op, network_shapes
from cnnspec.testing.networks import infer
from cnnspec.testing.strategies import OPS, Draw
from tests.conv_networks import CASES, case, computed, graph_of, rounded
from tests.networks import BACKENDS, distance
from tests.night import share

Array = npt.NDArray[Any]

NEW: tuple[type[Op], ...] = (ConvTranspose, DepthwiseConv, SeparableConv)
GALLERY = Path(__file__).parents[1] / "specs" / "gallery_convolutions.yaml"
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}

each_op = pytest.mark.parametrize("op", NEW, ids=lambda op: op.key)


# --- definitions, one product at a time ---------------------------------------------------------


def windowed(op: Conv, x: Array, weight: Array, bias: Array | None) -> Array:
    """y[o, p] = bias[o] + sum over c, q of w[o, c, q] * x[c, p * stride + q * dilation]."""
    window, (filters, width, *kernel) = op.window(x.shape[1:]), weight.shape
    x = np.pad(x, ((0, 0), (0, 0), *window.pads), MODES[op.padding_mode])  # type: ignore[call-overload]  # a mode by name
    space = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], kernel, window.stride, window.dilation, strict=True)
    ]
    y = np.zeros((len(x), filters, *space))
    for o, *p in np.ndindex(filters, *space):
        for c, *q in np.ndindex(width, *kernel):
            at = [
                a * s + b * d
                for a, s, b, d in zip(p, window.stride, q, window.dilation, strict=True)
            ]
            tap = [k - 1 - b for k, b in zip(kernel, q, strict=True)] if op.flip else q
            channel = o // (filters // op.groups) * width + c
            y[(slice(None), o, *p)] += weight[(o, c, *tap)] * x[(slice(None), channel, *at)]
    return y if bias is None else y + bias.reshape(-1, *(1 for _ in kernel))


def transposed(op: ConvTranspose, x: Array, weight: Array, bias: Array | None) -> Array:
    """full[o, i * stride + q * dilation] += x[c, i] * w[c, o, q]; crop or append; add the bias."""
    window = op.transposed_window(x.shape[1:])
    (images, channels, *space), (_, width, *kernel) = x.shape, weight.shape
    axes = zip(space, kernel, window.stride, window.dilation, strict=True)
    full = np.zeros((images, op.filters, *((n - 1) * s + (k - 1) * d + 1 for n, k, s, d in axes)))
    for c, *i in np.ndindex(channels, *space):
        for j, *q in np.ndindex(width, *kernel):
            o = c // (channels // op.groups) * width + j
            at = [
                a * s + b * d
                for a, s, b, d in zip(i, window.stride, q, window.dilation, strict=True)
            ]
            full[(slice(None), o, *at)] += x[(slice(None), c, *i)] * weight[(c, j, *q)]
    for axis, (lo, hi) in enumerate(window.crops, start=2):
        full = np.moveaxis(full, axis, 0)
        full = full[lo : len(full) - max(hi, 0)]
        full = np.concatenate([full, np.zeros((max(-hi, 0), *full.shape[1:]))])
        full = np.moveaxis(full, 0, axis)
    return full if bias is None else full + bias.reshape(-1, *(1 for _ in kernel))


def plain(op: Op, x: Array, weights: dict[str, Array]) -> Array:
    """What the op computes, from the arrays under their names in the layer."""
    if isinstance(op, ConvTranspose):
        return transposed(op, x, weights["weight"], weights.get("bias"))
    if isinstance(op, DepthwiseConv):
        conv = op.as_conv(x.shape[1])
        return windowed(conv, x, weights["weight"], weights.get("bias"))
    assert isinstance(op, SeparableConv)
    x = windowed(op.depthwise(x.shape[1]), x, weights["depthwise.weight"], None)
    return windowed(op.pointwise(), x, weights["pointwise.weight"], weights.get("pointwise.bias"))


# --- one layer, drawn at random, in each back end -----------------------------------------------


@st.composite
def single(draw: Draw, op: type[Op], ranks: tuple[int, ...] = (2, 1, 3)) -> Graph:
    """A network of one layer, whose fields fit its input."""
    found: list[tuple[Shape, dict[str, Any]]] = []
    while not found:
        shape = draw(network_shapes(rank=draw(st.sampled_from(ranks))))
        fields = OPS.draw(draw, op, shape)
        if infer(op, fields, [shape]) is not None:
            found.append((shape, fields))
    ((shape, fields),) = found
    return graph_of(op, shape, fields)


@each_op
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_the_reference_is_the_definition(op: type[Op], data: st.DataObject) -> None:
    network = data.draw(single(op))
    node = network.node("layer")
    x = samples.sample(network, 0, 0, 3).inputs["input"]
    own = {n.removeprefix("layer."): w for n, w in samples.weights(network, 0).items()}
    y = computed(network, "numpy", "float64")["output"]
    assert y.shape[1:] == node.shape
    assert distance(y, plain(node.op, x, own)) < 1e-14


@each_op
@pytest.mark.parametrize(("backend", "examples"), [("torch", 0.25), ("keras", 0.1)])
def test_the_others_equal_the_reference(op: type[Op], backend: str, examples: float) -> None:
    @settings(max_examples=share(examples), suppress_health_check=list(HealthCheck), deadline=None)
    @given(single(op))
    def equal(network: Graph) -> None:
        for dtype, most in (("float64", 1e-13), ("float32", 1e-5)):
            wanted = computed(network, "numpy", "float64", dtype)  # type: ignore[arg-type]  # a literal
            found = computed(network, backend, dtype, dtype)  # type: ignore[arg-type]  # a literal
            assert found.keys() == wanted.keys()
            for name, value in wanted.items():
                assert distance(value, found[name]) < most, (name, dtype)

    equal()


@each_op
def test_laws(op: type[Op]) -> None:
    check_op(op, backends=("numpy", "torch"), examples=share(0.1))


def test_the_gallery_agrees() -> None:
    report = check(GALLERY, backends=BACKENDS, in_process=True, steps=2)
    assert report, [d.message for found in report.specs for d in found.diagnostics]


# --- what was found, and what is easily missed --------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    network = case(name)
    wanted = computed(network, "numpy", "float64")
    for backend in ("torch", "keras"):
        found = computed(network, backend, "float64")
        for key, value in wanted.items():
            assert distance(value, found[key]) < 1e-13, (backend, key)


@pytest.mark.parametrize("name", CASES)
def test_weight_files_are_the_same_for_all(name: str, tmp_path: Path) -> None:
    """What one back end's file saves, the others load."""
    network = case(name)
    weights = rounded(samples.weights(network, 0), "float32")
    path = str(tmp_path / "weights.safetensors")
    for writer, reader in itertools.pairwise((*BACKENDS, BACKENDS[0])):
        source = get(writer).open(get(writer).emit(network), dtype="float32")
        source.assign(weights)
        save(source, path)
        source.close()
        target = get(reader).open(get(reader).emit(network), dtype="float32")
        load(target, path)
        found = target.weights()
        target.close()
        for key, value in weights.items():
            np.testing.assert_array_equal(found[key], value)


def save(session: Any, path: str) -> None:
    if hasattr(session.model, "save_weights") and not hasattr(session.module, "save_weights"):
        session.model.save_weights(path)
    else:
        session.module.save_weights(session.model, path)


def load(session: Any, path: str) -> None:
    if hasattr(session.model, "load_weights") and not hasattr(session.module, "load_weights"):
        session.model.load_weights(path)
    else:
        session.module.load_weights(session.model, path)
