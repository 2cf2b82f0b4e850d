"""Layers with parameters in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.activation import PRelu
from cnnspec.ops.conv import Conv
from cnnspec.ops.dense import Dense
from cnnspec.ops.norm import BatchNorm
from cnnspec.ops.rbf import Rbf
from cnnspec.window import Pads, Size, Window


def compact(values: Size) -> int | Size:
    """One number where all axes agree."""
    return values[0] if len(set(values)) == 1 else values


def compact_pads(pads: Pads) -> int | Pads:
    """One number where all sides agree."""
    sides = {side for pair in pads for side in pair}
    return sides.pop() if len(sides) == 1 else pads


def sliding(window: Window) -> dict[str, object]:
    """What differs from a dense window without padding."""
    options: dict[str, object] = {}
    if max(window.stride) > 1:
        options["stride"] = compact(window.stride)
    if max(window.dilation) > 1:
        options["dilation"] = compact(window.dilation)
    if any(side for pair in window.pads for side in pair):
        options["pads"] = compact_pads(window.pads)
    return options


@COLUMN(Conv)
def conv(node: Node[Conv], style: Style) -> Spelling:
    """The kernel is a tuple, which says how many axes there are."""
    op, shape = node.op, node.inputs[0].shape
    window = op.window(shape)
    options = sliding(window)
    if "pads" in options and op.padding_mode != "zeros":
        options["mode"] = op.padding_mode
    if op.groups > 1:
        options["groups"] = op.groups
    if not op.bias:
        options["bias"] = False
    if op.flip:
        options["flip"] = True
    return Spelling(call("Conv", shape[0], op.filters, window.kernel, **options))


@COLUMN(Dense)
def dense(node: Node[Dense], style: Style) -> Spelling:
    """Weight (units, features)."""
    options = {} if node.op.bias else {"bias": False}
    return Spelling(call("Dense", node.inputs[0].shape[0], node.op.units, **options))


@COLUMN(Rbf)
def rbf(node: Node[Rbf], style: Style) -> Spelling:
    """Weight (units, features)."""
    return Spelling(call("Rbf", node.inputs[0].shape[0], node.op.units))


@COLUMN(PRelu)
def prelu(node: Node[PRelu], style: Style) -> Spelling:
    """One weight, or one for each channel."""
    return Spelling(call("PRelu", node.params[0].shape[0]))


@COLUMN(BatchNorm)
def batch_norm(node: Node[BatchNorm], style: Style) -> Spelling:
    """What differs from the defaults."""
    op = node.op
    options: dict[str, object] = {}
    if op.eps != 1e-5:
        options["eps"] = op.eps
    if op.momentum != 0.1:
        options["momentum"] = op.momentum
    if not op.affine:
        options["affine"] = False
    if op.running_var != "unbiased":
        options["running_var"] = op.running_var
    return Spelling(call("BatchNorm", node.shape[0], **options))
