"""Ops that move elements: shapes, orders, parts and margins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.conformance.case import Case
from tests.conformance.network import (
    MOST_AXES,
    Network,
    Unsupported,
    axis_names,
    positive,
    to_front,
)

MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def identity(case: Case) -> Network:
    """Identity is a network that does nothing."""
    network = Network(exact=True)
    network.output_sample(network.sample(case.inputs[0]), case.expected)
    return network


def reshape(case: Case) -> Network:
    """Reshape, with ONNX's 0 (the input's own size) filled in."""
    shape = list(case.whole(1) or ())
    if not case.attributes["allowzero"]:
        shape = [case.inputs[0].shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return _reshaped(case, shape)


def squeeze(case: Case) -> Network:
    """Squeeze and Unsqueeze are `reshape` to the shape that comes out."""
    return _reshaped(case, case.expected.shape)


def flatten(case: Case) -> Network:
    """Flatten behind the batch is `flatten`; elsewhere it is `reshape`."""
    x = case.inputs[0]
    axis = positive(case.attributes["axis"], x.ndim)
    if axis > 1:
        return _reshaped(case, case.expected.shape)
    network = Network(exact=True)
    source = network.batch(x) if axis else network.sample(x)
    network.output(network.layer("flatten", source), case.expected)
    return network


def _reshaped(case: Case, shape: Sequence[int]) -> Network:
    """A shape of too many axes is reached where the first stays, as the batch."""
    x, network = case.inputs[0], Network(exact=True)
    if max(len(shape), x.ndim) > MOST_AXES and x.shape[0] == shape[0]:
        network.output(network.reshape(network.batch(x), shape[1:]), case.expected)
    else:
        network.output_sample(network.reshape(network.sample(x), shape), case.expected)
    return network


def transpose(case: Case) -> Network:
    """Transpose is `permute`."""
    x, network = case.inputs[0], Network(exact=True)
    axes = case.attributes.get("perm", range(x.ndim)[::-1])
    network.output_sample(network.permute(network.sample(x), axes), case.expected)
    return network


def slices(case: Case) -> Network:
    """Slice forwards; ends beyond an end stand for it."""
    x, network = case.inputs[0], Network(exact=True)
    starts, stops = case.whole(1) or (), case.whole(2) or ()
    axes = case.whole(3) or tuple(range(len(starts)))
    steps = case.whole(4) or (1,) * len(starts)
    if min(steps) < 0:
        raise Unsupported("`slice` goes forwards only")
    if not case.expected.size:
        raise Unsupported("an empty tensor: sizes are at least 1")
    names = axis_names(x.ndim)
    taken = {}
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        n = x.shape[axis]
        taken[names[axis]] = [int(np.clip(start, -n, n)), int(np.clip(stop, -n, n)), step]
    network.output_sample(network.layer("slice", network.sample(x), **taken), case.expected)
    return network


def split(case: Case) -> Network:
    """Split along any axis, which becomes the channels."""
    x, network = case.inputs[0], Network(exact=True)
    axis = positive(case.attributes["axis"], x.ndim)
    there, back = to_front(axis, x.ndim)
    sizes = [part.shape[axis] for part in case.outputs.values()]
    fields = {"into": len(sizes)} if len(set(sizes)) == 1 else {"sizes": sizes}
    layer = network.layer("split", network.permute(network.sample(x), there), **fields)
    for index, part in enumerate(case.outputs.values()):
        network.output_sample(network.permute(f"{layer}.{index}", back), part)
    return network


def depth_to_space(case: Case) -> Network:
    """CRD is `pixel_shuffle`; DCR has the places of a block outside, so channels move first."""
    x, network = case.inputs[0], Network(exact=True)
    factor, source = case.attributes["blocksize"], network.batch(x)
    if case.attributes["mode"] == "DCR":
        source = network.layer("channel_shuffle", source, groups=factor**2)
    network.output(network.layer("pixel_shuffle", source, factor=factor), case.expected)
    return network


def space_to_depth(case: Case) -> Network:
    """CRD is `pixel_unshuffle`; for DCR its channels move behind it."""
    x, network = case.inputs[0], Network(exact=True)
    factor = case.attributes["blocksize"]
    layer = network.layer("pixel_unshuffle", network.batch(x), factor=factor)
    if case.attributes["mode"] == "DCR":
        layer = network.layer("channel_shuffle", layer, groups=x.shape[1])
    network.output(layer, case.expected)
    return network


def pad(case: Case) -> Network:
    """Pad along space."""
    x, network = case.inputs[0], Network(exact=True)
    amounts = case.whole(1) or ()
    axes = [positive(axis, x.ndim) for axis in case.whole(3) or range(x.ndim)]
    margins = dict.fromkeys(range(x.ndim), (0, 0))
    margins |= zip(axes, zip(amounts[: len(axes)], amounts[len(axes) :], strict=True), strict=True)
    if any(margins[axis] != (0, 0) for axis in (0, 1)):
        raise Unsupported("`pad` pads space only")
    value = case.given(2)
    fields = {} if value is None else {"value": float(value)}
    layer = network.layer(
        "pad",
        network.batch(x),
        padding=[list(margins[axis]) for axis in range(2, x.ndim)],
        mode=MODES[case.attributes["mode"]],
        **fields,
    )
    network.output(layer, case.expected)
    return network


def center_crop_pad(case: Case) -> Network:
    """Every axis is one of space, behind a channel of its own; first `crop`, then `pad`."""
    x, network = case.inputs[0], Network(exact=True)
    layer = network.sample(x[None])
    larger = [n - o for n, o in zip(x.shape, case.expected.shape, strict=True)]
    if any(n > 0 for n in larger):
        cropping = [[max(n, 0) // 2, max(n, 0) - max(n, 0) // 2] for n in larger]
        layer = network.layer("crop", layer, cropping=cropping)
    if any(n < 0 for n in larger):
        padding = [[max(-n, 0) // 2, max(-n, 0) - max(-n, 0) // 2] for n in larger]
        layer = network.layer("pad", layer, padding=padding)
    network.output_sample(layer, case.expected[None])
    return network


CONVERTERS = {
    "CenterCropPad": center_crop_pad,
    "DepthToSpace": depth_to_space,
    "Flatten": flatten,
    "Identity": identity,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slices,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": squeeze,
}
