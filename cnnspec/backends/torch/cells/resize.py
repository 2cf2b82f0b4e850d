"""Padding and interpolation in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.torch.cells.window import compact, reversed_pads
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.base import spatial
from cnnspec.ops.pad import Pad
from cnnspec.ops.resize import Upsample

PADS = {
    "zeros": "ZeroPad",
    "constant": "ConstantPad",
    "reflect": "ReflectionPad",
    "replicate": "ReplicationPad",
    "circular": "CircularPad",
}

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}

MOST_SCALE = 40
"""torch multiplies positions by 1 / scale in float32; 41 is the first scale at which that fails."""

MOST_SIZE = 2**22
"""From twice this size on, float32 does not tell one position from the next."""


@COLUMN(Pad)
def pad(node: Node[Pad], style: Style) -> Spelling:
    """`F.pad`, or the module of the mode inside a sequence."""
    op, shape = node.op, node.inputs[0].shape
    pads = reversed_pads(op.pads(shape))
    constant = op.mode == "constant"
    module = f"nn.{PADS[op.mode]}{len(spatial(shape))}d"
    options: dict[str, object] = {}
    if constant and op.value:
        options["value"] = op.value
    elif op.mode not in ("zeros", "constant"):
        options["mode"] = op.mode
    return Spelling(
        call(module, compact(pads), *([op.value] if constant else [])),
        lambda x: call("F.pad", x, pads, **options),
    )


@COLUMN(Upsample)
def upsample(node: Node[Upsample], style: Style) -> Spelling:
    """`F.interpolate`, or `nn.Upsample` inside a sequence."""
    op = node.op
    given = op.scale if op.size is None else op.size
    assert given is not None
    given = compact(given) if isinstance(given, tuple) else given
    exact = _exact(op, node) or style.layers == "native"
    if op.family.startswith("nearest") and not exact:
        options: dict[str, object] = {} if op.scale is None else {"scale": True}
        if op.family == "nearest_exact":
            options["exact"] = True
        return Spelling(call("Nearest", given, **options))
    options = {"size": given} if op.scale is None else {"scale_factor": given}
    mode = {"nearest_exact": "nearest-exact", "cubic": "bicubic"}.get(op.family, op.family)
    if mode == "linear":
        mode = LINEAR[len(spatial(node.shape))]
    if mode != "nearest":
        options["mode"] = mode
    if op.align_corners:
        options["align_corners"] = True
    return Spelling(call("nn.Upsample", **options), lambda x: call("F.interpolate", x, **options))


def _exact(op: Upsample, node: Node[Upsample]) -> bool:
    """Whether torch finds the nearest element; whatever the scale, it does so along small axes."""
    if op.scale is None:
        return False
    scale = max(op.scale) if isinstance(op.scale, tuple) else op.scale
    return scale <= MOST_SCALE and max(spatial(node.shape)) < MOST_SIZE
