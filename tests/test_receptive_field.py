"""The receptive field that is stated, against where the gradient of one element is not zero."""

from __future__ import annotations

import numpy as np
import pytest

import cnnspec
from cnnspec.receptive_field import Reach, receptive_fields
from tests.networks import graph, layers
from tests.spec_errors import built, spec

LENGTH = 48

CONV = "conv: {filters: 1, kernel: 3}"
CHAINS = {
    "conv": ["conv: {filters: 1, kernel: 3, stride: 2, dilation: 2}"],
    "even kernel": ["conv: {filters: 1, kernel: 4, stride: 3}"],
    "two convs": ["conv: {filters: 1, kernel: 5, stride: 2}", CONV],
    "transposed 2/2": ["conv_transpose: {filters: 1, kernel: 2, stride: 2}"],
    "transposed 3/2": ["conv_transpose: {filters: 1, kernel: 3, stride: 2, padding: 1}"],
    "transposed 4/2": ["conv_transpose: {filters: 1, kernel: 4, stride: 2, padding: 1}", CONV],
    "transposed 5/3": ["conv_transpose: {filters: 1, kernel: 5, stride: 3}", CONV],
    "transposed twice": ["conv_transpose: {filters: 1, kernel: 3, stride: 2}"] * 2,
    "down and up": [
        "avg_pool: {kernel: 2}",
        CONV,
        "conv_transpose: {filters: 1, kernel: 2, stride: 2}",
        CONV,
    ],
    "up and down": ["upsample: {scale: 3}", CONV, "avg_pool: {kernel: 2}"],
    "nearest 4": ["upsample: {scale: 4}", CONV],
    "nearest 3/2": ["upsample: {size: 72}"],
    "nearest_exact": ["upsample: {size: 72, mode: nearest_exact}", CONV],
    "linear 2": ["upsample: {scale: 2, mode: linear}"],
    "linear 3/2": ["upsample: {size: 72, mode: linear}", CONV],
    "adaptive 16": ["adaptive_avg_pool: {size: 16}"],
    "adaptive 20": ["adaptive_avg_pool: {size: 20}"],
    "crop": ["crop: {cropping: [[3, 2]]}", CONV],
    "slice": ["slice: {length: [5, null, 3]}", CONV],
    "norm per position": ["conv: {filters: 2, kernel: 3}", "layer_norm: {axes: C}", CONV],
    "local response": ["local_response_norm", CONV],
    "shuffle": [
        "pixel_unshuffle: {factor: 2}",
        "conv: {filters: 4, kernel: 1}",
        "pixel_shuffle: {factor: 2}",
        CONV,
    ],
    "unshuffled": ["pixel_unshuffle: {factor: 4}", CONV],
}


def seen(*lines: str) -> tuple[Reach, list[tuple[int, int]]]:
    """What is stated, and the first and last element that each element really sees."""
    network = layers(*lines, input=f"[2, {LENGTH}]")
    last = network.nodes[-1]
    (reach,) = receptive_fields(network)[last.id]["input"]
    assert reach is not None
    generator = np.random.default_rng(0)
    weights = {
        name: 0.5 + generator.random(param.shape) for name, param in network.params().items()
    }
    model = cnnspec.build(network, "numpy", weights=weights, dtype="float64")
    x = generator.standard_normal((1, 2, LENGTH))
    y, backward = model.forward(x)
    found = []
    for i in range(y.shape[2]):
        cotangent = np.zeros_like(y)
        cotangent[:, :, i] = 1 + generator.random(y.shape[:2])
        (where,) = np.nonzero(np.abs(backward(cotangent)).max(axis=(0, 1)))
        found.append((int(where[0]), int(where[-1])))
    return reach, found


def repeats(firsts: list[int], period: int) -> bool:
    moves = [b - a for a, b in zip(firsts, firsts[period:], strict=False)]
    assert len(moves) > 1
    return len(set(moves)) == 1


@pytest.mark.parametrize("name", CHAINS)
def test_field_is_where_the_gradient_is(name: str) -> None:
    reach, found = seen(*CHAINS[name])
    inside = [(a, b) for a, b in found if a > 0 and b < LENGTH - 1]  # the ends may be cut off
    assert len(inside) > 3
    assert reach.size == max(b - a for a, b in inside) + 1
    assert reach.jump is not None
    assert found[0][0] == max(reach.start, 0)
    firsts = [a for a, _ in inside]
    # Behind upsampling not every move is the same, but so many together always are.
    period = next(
        n for n in range(1, 9) if (n * reach.jump).denominator == 1 and repeats(firsts, n)
    )
    assert firsts[period] - firsts[0] == period * reach.jump


@pytest.mark.parametrize("mode", ["linear", "bicubic"])
@pytest.mark.parametrize("corners", ["true", "false"])
def test_interpolation_in_two_dimensions(mode: str, corners: str) -> None:
    taps = 2 if mode == "linear" else 4
    text = spec(
        f"upsample: {{size: [19, 23], mode: {mode}, align_corners: {corners}}}",
        input="[1, 7, 8]",
    )
    network = built(text).graph
    found = receptive_fields(network)["upsample1"]["input"]
    assert [reach.size for reach in found if reach is not None] == [taps, taps]
    starts = {"linear": [0, -1], "bicubic": [-1, -2]}[mode]
    assert [r.start for r in found if r is not None] == [starts[corners == "false"]] * 2


def test_norms_and_means_see_the_axes_they_are_taken_over() -> None:
    network = graph(
        spec(
            "group_norm: {name: group, groups: 1}",
            "instance_norm: {name: instance, from: input}",
            "layer_norm: {name: rows, from: input, axes: [height]}",
            "mean: {name: mean, from: input, axes: [width]}",
            "add: {name: sum, from: [group, instance, rows]}",
            more="outputs: {a: sum, b: mean}\n",
        )
    )
    fields = receptive_fields(network)
    whole = (Reach(12, 0, 0), Reach(16, 0, 0))
    assert fields["group"]["input"] == fields["instance"]["input"] == whole
    assert fields["rows"]["input"] == (Reach(12, 0, 0), Reach(1, 1, 0))
    assert fields["mean"]["input"] == (Reach(1, 1, 0), Reach(16, 0, 0))
    assert fields["sum"]["input"] == whole


def test_squeeze_and_excite_sees_everything() -> None:
    network = graph(
        spec(
            "conv: {name: c, filters: 2, kernel: 3, padding: 1}",
            "global_avg_pool: {name: s}",
            "sigmoid: {name: gate}",
            "multiply: {name: y, from: [c, gate]}",
            "conv: {name: z, filters: 2, kernel: 3}",
        )
    )
    fields = receptive_fields(network)
    assert all(
        r is not None and r.whole(n) for r, n in zip(fields["y"]["input"], (12, 16), strict=True)
    )
    assert all(
        r is not None and r.whole(n) for r, n in zip(fields["z"]["input"], (12, 16), strict=True)
    )


def test_what_rearranges_space_has_no_interval() -> None:
    network = graph(
        spec(
            "conv: {name: c, filters: 2, kernel: 3}",
            "permute: {name: turned, axes: [0, 2, 1]}",
            "conv: {name: d, filters: 2, kernel: 3}",
            "permute: {name: kept, from: c, axes: [0, 1, 2]}",
            "global_avg_pool: {name: g, from: c}",
            "flatten: {name: f}",
            "dense: {name: e, units: 8}",
            "reshape: {name: r, shape: [2, 2, 2]}",
            more="outputs: {a: d, b: r, c: kept}\n",
        )
    )
    fields = receptive_fields(network)
    assert fields["turned"]["input"] == fields["d"]["input"] == (None, None)
    assert fields["kept"]["input"] == fields["c"]["input"]
    # Where all elements see the same they do so in any shape.
    assert fields["r"]["input"] == fields["e"]["input"] == (Reach(12, 0, 0), Reach(16, 0, 0))


def test_one_position_never_moves() -> None:
    """Branches of unequal strides that meet in a single element."""
    network = graph(
        spec(
            "conv: {name: a, filters: 1, kernel: 6, stride: 3, padding: [[2, 0]]}",
            "conv: {name: b, from: input, filters: 1, kernel: 5, padding: [[0, 1]]}",
            "add: {name: c, from: [a, b]}",
            input="[1, 4]",
        )
    )
    (reach,) = receptive_fields(network)["c"]["input"]
    assert reach is not None
    assert (reach.size, reach.start) == (7, -2)


def test_lines_lie_around_every_branch() -> None:
    """Where branches of unequal strides meet, no element sees more than is stated."""
    network = graph(
        spec(
            "conv: {name: a, filters: 1, kernel: 5, stride: 2, padding: 2}",
            "conv: {name: b, from: input, filters: 1, kernel: 33}",
            "add: {name: c, from: [a, b]}",
            input="[1, 64]",
        )
    )
    fields = receptive_fields(network)
    (c,) = fields["c"]["input"]
    assert c is not None
    assert c.jump is None
    assert c.size == max(max(2 * i + 2, i + 32) - min(2 * i - 2, i) + 1 for i in range(32))
