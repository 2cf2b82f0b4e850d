"""The options that docs/ops.md has a row for: for each op some plain fields, and what varies.

They are texts as a spec has them. An option that an op rejects for inputs of some rank is left out
there; `tests/test_ops_docs.py` holds that every word, flag and field of every op is among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cnnspec.ops.base import Op, Reject, Shape, registered
from cnnspec.plugins import built_in

SHAPES: dict[int, Shape] = {0: (8,), 1: (8, 12), 2: (8, 6, 4), 3: (8, 4, 6, 8)}
"""Inputs by number of spatial axes: sizes that differ, all even, with channels to shuffle."""

GATE = "gate"
"""An input with one value for each channel."""

_WINDOWS = (
    "stride: 2",
    "stride: 2, padding: same",
    "stride: 2, padding: same_lower",
    "padding: same",
    "padding: full",
    "padding: 1",
    "padding: [[1, 0]]",
    "padding: [[1, 0], [0, 2]]",
)
_CONV = (
    *_WINDOWS,
    "padding: causal, dilation: 2",
    "dilation: 2, padding: 2",
    "stride: 2, dilation: 2, padding: 2",
    "padding_mode: reflect, padding: 1",
    "padding_mode: replicate, padding: 1",
    "padding_mode: circular, padding: 1",
    "flip: true",
    "flip: true, padding: [[1, 0], [0, 2]]",
    "kernel: [3, 2]",
    "bias: false",
)
_POOL = (
    "stride: 1",
    "stride: 1, padding: 1",
    "padding: same, stride: 2",
    "padding: same_lower, stride: 2",
    "padding: full, stride: 1",
    "padding: causal, stride: 1",
    "ceil_mode: true",
    "ceil_mode: true, stride: 2, padding: 1",
    "kernel: [3, 2]",
)
_NORM = ("eps: 0.001", "eps: 0.5")

OPTIONS: dict[str, tuple[str, Sequence[str]]] = {
    "adaptive_avg_pool": ("size: 3", ("size: 1", "size: 5", "size: [4, 3]", "size: [2, 5, 3]")),
    "adaptive_max_pool": ("size: 3", ("size: 1", "size: 5", "size: [4, 3]", "size: [2, 5, 3]")),
    "add": ("from: [x, y]", ("from: [x, y, z]", "from: [x, x]")),
    "alpha_dropout": ("", ("p: 0.25", "p: 0", "p: 1")),
    "average": ("from: [x, y]", ("from: [x, y, z]", "from: [x, x]")),
    "avg_pool": (
        "kernel: 3",
        (
            *_POOL,
            "count_include_pad: true, padding: 1",
            "count_include_pad: true, padding: 1, ceil_mode: true",
        ),
    ),
    "batch_norm": (
        "",
        (*_NORM, "momentum: 0.3", "momentum: 1", "affine: false", "running_var: biased"),
    ),
    "celu": ("", ("alpha: 0.5", "alpha: 0.7")),
    "channel_shuffle": ("groups: 2", ("groups: 4",)),
    "concat": ("from: [x, y]", ("from: [x, y, z]",)),
    "conv": ("filters: 4, kernel: 3", (*_CONV, "groups: 2")),
    "conv_transpose": (
        "filters: 4, kernel: 3",
        (
            "stride: 2",
            "stride: 2, padding: 1",
            "stride: 2, padding: same",
            "stride: 2, padding: 1, output_padding: 1",
            "padding: [[1, 0]]",
            "padding: [[1, 0], [0, 2]]",
            "dilation: 2",
            "stride: 2, dilation: 2",
            "groups: 2",
            "kernel: [3, 2]",
            "bias: false",
        ),
    ),
    "crop": ("cropping: 1", ("cropping: [[1, 0], [0, 1]]", "cropping: [[2, 1]]")),
    "dense": ("units: 5", ("bias: false",)),
    "depthwise_conv": ("kernel: 3", (*_CONV, "multiplier: 2")),
    "dropout": ("", ("p: 0.25", "p: 0", "p: 1")),
    "elu": ("", ("alpha: 0.5", "alpha: 1.75")),
    "group_norm": ("groups: 2", ("groups: 1", "groups: 8", *_NORM, "affine: false")),
    "instance_norm": ("", (*_NORM, "affine: true")),
    "layer_norm": (
        "",
        (
            *_NORM,
            "affine: false",
            "axes: C",
            "axes: space",
            "axes: [height, width]",
            "axes: [channels, height]",
        ),
    ),
    "leaky_relu": ("", ("slope: 0.2", "slope: 0", "slope: -0.5")),
    "local_response_norm": ("", ("size: 2", "size: 9", "alpha: 0.5", "beta: 0.5", "k: 2")),
    "lp_pool": ("kernel: 3", (*_POOL, "p: 1", "p: 3", "p: 2.5")),
    "max_pool": ("kernel: 3", (*_POOL, "dilation: 2, padding: 1", "dilation: 2, stride: 1")),
    "maximum": ("from: [x, y]", ("from: [x, y, z]", "from: [x, x]")),
    "mean": ("axes: space", ("axes: C", "axes: CHW", "axes: [channels, width]")),
    "multiply": ("from: [x, y]", ("from: [x, y, z]", "from: [x, gate]", "from: [gate, x]")),
    "normalize": (
        "mean: [0.1, 0, -0.75, 0.5, 0.1, 0, 1, 2], std: [0.25, 1, 0.3, 2, 0.25, 1, 3, 4]",
        (),
    ),
    "pad": (
        "padding: 1",
        (
            "mode: constant, value: 0.1",
            "mode: reflect",
            "mode: replicate",
            "mode: circular",
            "mode: replicate, padding: 3",
            "padding: [[1, 0], [0, 2]]",
        ),
    ),
    "permute": ("axes: [1, 0]", ("axes: [2, 0, 1]", "axes: [0, 2, 1]", "axes: [3, 0, 2, 1]")),
    "pixel_shuffle": ("factor: 2", ()),
    "pixel_unshuffle": ("factor: 2", ()),
    "prelu": ("", ("parameters: one",)),
    "rbf": ("units: 5", ()),
    "rescale": ("", ("scale: 2.25, offset: 0.75", "scale: -1", "offset: -0.1")),
    "reshape": ("shape: [-1]", ("shape: [4, -1]", "shape: [2, 4, -1]", "shape: [2, 2, 2, -1]")),
    "separable_conv": (
        "filters: 4, kernel: 3",
        (
            *_WINDOWS,
            "padding: causal, dilation: 2",
            "dilation: 2, padding: 2",
            "stride: 2, dilation: 2, padding: 2",
            "multiplier: 2",
            "kernel: [3, 2]",
            "bias: false",
        ),
    ),
    "slice": (
        "channels: [1, -1]",
        (
            "channels: [null, null, 2]",
            "length: [2, null, 3]",
            "height: [1, 5, 2], width: [null, -1]",
            "depth: [1, null], height: [-5, null], width: [0, 8, 3]",
        ),
    ),
    "spatial_dropout": ("", ("p: 0.25", "p: 0", "p: 1")),
    "split": ("into: 2", ("into: 4", "sizes: [1, 4, 3]")),
    "stochastic_depth": ("p: 0.5", ("p: 0.25", "p: 0", "p: 1")),
    "subtract": ("from: [x, y]", ("from: [x, x]",)),
    "sum_pool": ("kernel: 3", _POOL),
    "upsample": (
        "scale: 2",
        (
            "size: 5",
            "size: [5, 9]",
            "mode: nearest_exact",
            "mode: nearest_exact, size: 5",
            "mode: linear",
            "mode: linear, align_corners: true",
            "mode: bilinear",
            "mode: bilinear, align_corners: true",
            "mode: bilinear, size: [5, 9]",
            "mode: trilinear",
            "mode: trilinear, align_corners: true",
            "mode: bicubic",
            "mode: bicubic, align_corners: true",
            "mode: bicubic, size: [5, 9]",
        ),
    ),
}
"""For each op that has fields or several inputs: the plain fields, and each option over them."""

ALTERNATIVES = (("scale", "size"), ("into", "sizes"))
"""Of each pair a layer takes one: an option with the second leaves out the first."""


@dataclass(frozen=True)
class Case:
    """One row: an op with these fields.

    Attributes:
        op: the class.
        option: what differs from the plain fields, as text; the plain fields themselves first.
        fields: all of them.
        sources: names of the inputs that it reads.
        ranks: numbers of spatial axes for which the op takes it.
    """

    op: type[Op]
    option: str
    fields: Mapping[str, Any]
    sources: tuple[str, ...]
    ranks: tuple[int, ...]

    @property
    def label(self) -> str:
        """The option as it is written on the page."""
        return f"`{self.option}`" if self.option else "plain"

    @property
    def made(self) -> Op:
        """The op itself."""
        return self.op.model_validate(_tuples(dict(self.fields)))


def cases_of(op: type[Op]) -> tuple[Case, ...]:
    """The rows of an op, the plain one first."""
    plain, options = OPTIONS.get(op.key, ("", ()))
    return tuple(_case(op, plain, option) for option in ("", *options))


def documented() -> tuple[type[Op], ...]:
    """The ops of the page: all but those of plug-ins, which some installations have."""
    return tuple(filter(built_in, registered()))


def cases() -> Iterator[Case]:
    """All rows."""
    for op in documented():
        yield from cases_of(op)


def shape_of(source: str, rank: int) -> Shape:
    """The shape of an input of this name."""
    shape = SHAPES[rank]
    return (shape[0], *(1 for _ in shape[1:])) if source == GATE else shape


def _case(op: type[Op], plain: str, option: str) -> Case:
    given = _read(option)
    fields = {**_read(plain), **given}
    sources = tuple(fields.pop("from", ("x",)))
    for field, other in ALTERNATIVES:
        if other in given:
            fields.pop(field, None)
    case = Case(op, option or plain, fields, sources, ())
    ranks = tuple(rank for rank in SHAPES if _takes(case, rank))
    return Case(op, case.option, fields, sources, ranks)


def _takes(case: Case, rank: int) -> bool:
    try:
        case.made.infer(*(shape_of(source, rank) for source in case.sources))
    except Reject:
        return False
    return True


def _read(text: str) -> dict[str, Any]:
    found = yaml.safe_load("{" + text + "}")
    assert isinstance(found, dict)
    return found


def _tuples(value: Any) -> Any:
    """As a document has it: its sequences are tuples."""
    if isinstance(value, dict):
        return {key: _tuples(entry) for key, entry in value.items()}
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
