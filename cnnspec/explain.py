"""What each layer does to a shape, and why: formulas with the numbers substituted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import singledispatch

from cnnspec import explain_bins, explain_transposed, explain_window
from cnnspec.diagnostics import Diagnostic, SetupError, did_you_mean
from cnnspec.graph import Graph, Node
from cnnspec.ops.activation import LogSoftmax, PRelu, Softmax
from cnnspec.ops.adaptive_pool import AdaptivePool
from cnnspec.ops.base import Op, Param, Shape, show, spatial
from cnnspec.ops.conv import Conv
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.dense import Dense
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.ops.dropout import AlphaDropout, Dropout, SpatialDropout, StochasticDepth
from cnnspec.ops.merge import Add, Concat
from cnnspec.ops.norm import BatchNorm, LocalResponseNorm, SampleNorm
from cnnspec.ops.pool import AvgPool, GlobalPool
from cnnspec.ops.rbf import Rbf
from cnnspec.ops.reduce import Mean
from cnnspec.ops.reshape import Flatten
from cnnspec.ops.scale import LayerScale
from cnnspec.quote import quoted
from cnnspec.receptive_field import Reaches, describe, receptive_fields


def explain(graph: Graph, layer: str | None = None) -> str:
    """Explain one layer at length, or every layer in short; no final line break.

    Args:
        graph: the network.
        layer: the full name of a layer, or of a sequence for the layers in it.

    Raises:
        SetupError: there is no such layer.
    """
    fields = receptive_fields(graph)
    shapes = {entry.name: entry.shape for entry in graph.inputs}
    if layer is None:
        head = [f"{graph.name}: {_inputs(graph)}", ""]
        blocks = [_short(graph, node, fields, shapes) for node in graph.nodes]
        return "\n".join([*head, *("\n".join(block) for block in blocks)])
    chosen = _chosen(graph, layer)
    return "\n\n".join("\n".join(_long(graph, node, fields, shapes)) for node in chosen)


def _inputs(graph: Graph) -> str:
    return ", ".join(f"`{entry.name}` {show(entry.shape)}" for entry in graph.inputs)


def _chosen(graph: Graph, layer: str) -> list[Node[Op]]:
    chosen = [n for n in graph.nodes if n.id == layer or n.id.startswith(f"{layer}.")]
    if not chosen:
        raise SetupError(
            Diagnostic(
                "unknown-layer",
                f"there is no layer {quoted(layer)} in `{graph.name}`",
                help=did_you_mean(layer, [node.id for node in graph.nodes[:1000]]),
            )
        )
    return chosen


Fields = Mapping[str, Mapping[str, Reaches]]


def _heading(node: Node[Op]) -> str:
    inputs = " and ".join(show(shape) for shape in node.input_shapes)
    return f"{node.id}: {node.op.key}, {inputs} -> {show(node.shape)}"


def _short(
    graph: Graph, node: Node[Op], fields: Fields, shapes: Mapping[str, Shape]
) -> Iterator[str]:
    yield _heading(node)
    if isinstance(node.op, explain_window.Windowed):
        for names, axis in explain_window.axes(node.op, node.input_shapes[0]):
            yield f"    {names}: {explain_window.substituted(axis)}"
    if isinstance(node.op, ConvTranspose):
        for names, writing in explain_transposed.axes(node.op, node.input_shapes[0]):
            yield f"    {names}: {explain_transposed.substituted(writing)}"
    if isinstance(node.op, AdaptivePool):
        for line in explain_bins.short(node.input_shapes[0], node.shape):
            yield f"    {line}"
    if node.params:
        yield f"    parameters: {_sum(node)}"
    sliding = explain_window.Windowed | ConvTranspose | AdaptivePool
    if isinstance(node.op, sliding | GlobalPool | Add | Concat):
        for line in describe(fields[node.id], shapes):
            yield f"    receptive field: {line}"


def _long(
    graph: Graph, node: Node[Op], fields: Fields, shapes: Mapping[str, Shape]
) -> Iterator[str]:
    yield _heading(node)
    if node.origin is not None:
        span = node.origin.span
        yield f"written at {span.source.name}:{span.line}:{span.column}"
    yield ""
    yield from _formula(node.op)
    if isinstance(node.op, explain_window.Windowed):
        yield ""
        yield from explain_window.long(node.op, node.input_shapes[0])
    if isinstance(node.op, ConvTranspose):
        yield ""
        yield from explain_transposed.long(node.op, node.input_shapes[0])
    if isinstance(node.op, AdaptivePool):
        yield ""
        yield from explain_bins.long(node.input_shapes[0], node.shape)
    remarks = list(_remarks(node.op, node))
    if remarks:
        yield ""
        yield from remarks
    yield ""
    yield from _parameters(node)
    macs = graph.macs(node)
    if macs:
        yield f"multiply-accumulates for each sample: {macs:,}{_work(node)}"
    lines = list(describe(fields[node.id], shapes))
    if lines:
        yield ""
        yield from (f"receptive field: {line}" for line in lines)


def _formula(op: Op) -> Iterator[str]:
    """What the op computes, in the words of its class."""
    lines = (type(op).__doc__ or "").strip().splitlines()
    yield from (f"  {line.strip()}".rstrip() for line in lines)


# --- parameters --------------------------------------------------------------------------------


def _product(shape: Iterable[int]) -> str:
    return " * ".join(str(n) for n in shape)


def _size(param: Param) -> str:
    return _product(_spelled(param))


def _spelled(param: Param) -> Shape:
    """The sizes as lecture notes multiply them: kernel, channels, filters."""
    if len(param.shape) > 1:
        return (*param.shape[2:], param.shape[1], param.shape[0])
    return param.shape


def _sum(node: Node[Op]) -> str:
    total = sum(param.size for param in node.params)
    text = " + ".join(_size(param) for param in node.params)
    text = text if text == str(total) else f"{text} = {total:,}"
    return text if node.owner is None else f"{text}, shared with `{node.owner.id}`"


def _parameters(node: Node[Op]) -> Iterator[str]:
    if not node.params:
        yield "parameters: none"
        return
    yield f"parameters: {_sum(node)}"
    width = max(len(param.name) for param in node.params)
    for param in node.params:
        size = f"{_size(param)} = {param.size:,}" if len(param.shape) > 1 else f"{param.size:,}"
        kind = "running statistic" if param.statistic else "trainable"
        kind = kind if param.trainable or param.statistic else "frozen"
        yield f"  {param.name:<{width}}  {size}  ({kind}, starts as {param.init.key})"


def _work(node: Node[Op]) -> str:
    if isinstance(node.op, SeparableConv):
        depthwise, pointwise, *_ = node.params
        between = (depthwise.shape[0], *spatial(node.shape))
        taps = _product(depthwise.shape[2:])
        first = f"{_product(between)} values in between, {taps} each"
        return f" = {first}, and {_product(node.shape)} outputs, {pointwise.shape[1]} each"
    weight = next((param for param in node.params if param.name == "weight"), None)
    if weight is None or not isinstance(node.op, Conv | DepthwiseConv | ConvTranspose):
        return ""
    taps = _product((*weight.shape[2:], weight.shape[1]))
    if isinstance(node.op, ConvTranspose):
        return f" = {_product(node.input_shapes[0])} inputs, {taps} each"
    return f" = {_product(node.shape)} outputs, {taps} each"


# --- what only one op has to say ---------------------------------------------------------------


@singledispatch
def _remarks(op: Op, node: Node[Op]) -> Iterator[str]:
    """Remarks on a layer beyond its formula, shape and parameters."""
    yield from ()


@_remarks.register
def _(op: Conv, node: Node[Op]) -> Iterator[str]:
    channels = node.input_shapes[0][0]
    if op.groups > 1:
        yield (
            f"{op.groups} groups: each of {op.filters} filters reads {channels // op.groups} "
            f"of {channels} channels"
        )
    else:
        yield f"filters: {op.filters}, each of which reads every channel of {channels}"


@_remarks.register
def _(op: ConvTranspose, node: Node[Op]) -> Iterator[str]:
    channels = node.input_shapes[0][0]
    if op.groups > 1:
        yield (
            f"{op.groups} groups: each of {channels} channels adds to {op.filters // op.groups} "
            f"of {op.filters} filters"
        )
    else:
        yield f"filters: {op.filters}, to each of which every channel of {channels} adds"


@_remarks.register
def _(op: DepthwiseConv, node: Node[Op]) -> Iterator[str]:
    several = f"{op.multiplier} filters" if op.multiplier > 1 else "one filter"
    yield f"{several} for each of {node.input_shapes[0][0]} channels"


@_remarks.register
def _(op: SeparableConv, node: Node[Op]) -> Iterator[str]:
    channels = node.input_shapes[0][0]
    between = f"{channels} * {op.multiplier} = " if op.multiplier > 1 else ""
    yield (
        f"each of {channels} channels is convolved by itself, and {op.filters} filters read the "
        f"{between}{channels * op.multiplier} channels in between"
    )


@_remarks.register
def _(op: AvgPool, node: Node[Op]) -> Iterator[str]:
    pads = op.pads(node.input_shapes[0])
    if any(sum(pair) for pair in pads):
        counted = "is counted" if op.count_include_pad else "is not counted"
        yield f"at the border the padding {counted} when the sum is divided"


@_remarks.register
def _(op: GlobalPool, node: Node[Op]) -> Iterator[str]:
    space = spatial(node.input_shapes[0])
    count = 1
    for n in space:
        count *= n
    yield f"each channel's {_product(space)} = {count:,} elements become one"


@_remarks.register
def _(op: Flatten, node: Node[Op]) -> Iterator[str]:
    shape = node.input_shapes[0]
    yield f"{_product(shape)} = {node.shape[0]:,} features, channel by channel, each row by row"
    if len(shape) == 3:
        _, height, width = shape
        yield f"element (c, y, x) becomes feature (c * {height} + y) * {width} + x"


@_remarks.register
def _(op: Dense, node: Node[Op]) -> Iterator[str]:
    yield f"each of the {op.units} units reads all {node.input_shapes[0][0]:,} features"


@_remarks.register
def _(op: BatchNorm, node: Node[Op]) -> Iterator[str]:
    space = spatial(node.shape)
    over = f"the batch and {_product(space)} positions" if space else "the batch"
    yield f"{node.shape[0]} channels; mean and variance are taken over {over}"
    yield (
        f"after each training batch: running = {1 - op.momentum:g} * running + "
        f"{op.momentum:g} * batch (Keras calls {1 - op.momentum:g} the momentum)"
    )
    if not space:
        yield "a training batch of one has no variance, so it is refused"


@_remarks.register
def _(op: SampleNorm, node: Node[Op]) -> Iterator[str]:
    view, axes = op.sets(node.shape)
    sizes = [view[axis] for axis in axes]
    total = math.prod(sizes)
    over = f"{total:,}" if len(sizes) == 1 else f"{_product(sizes)} = {total:,}"
    sets = math.prod(node.shape) // total
    often = "once" if sets == 1 else f"{sets:,} times"
    yield f"mean and variance are taken over {over} elements, {often} in each sample"
    yield "it is the same in training and in inference, and for every size of batch"


@_remarks.register
def _(op: LocalResponseNorm, node: Node[Op]) -> Iterator[str]:
    before, after = op.size // 2, (op.size - 1) // 2
    yield f"channel c is divided by what c - {before} to c + {after} have, as far as they exist"


@_remarks.register
def _(op: Mean, node: Node[Op]) -> Iterator[str]:
    shape = node.input_shapes[0]
    sizes = [shape[axis] for axis in op.positions(shape)]
    yield f"each {_product(sizes)} = {math.prod(sizes):,} elements become one"


@_remarks.register
def _(op: Dropout, node: Node[Op]) -> Iterator[str]:
    if op.p < 1:
        yield (
            f"in training each element is kept with probability {1 - op.p:g} and divided by it, "
            "so that its mean stays"
        )
    yield "in inference nothing happens"


@_remarks.register
def _(op: SpatialDropout | StochasticDepth, node: Node[Op]) -> Iterator[str]:
    what = "sample" if isinstance(op, StochasticDepth) else "channel of each sample"
    if op.p < 1:
        yield (
            f"in training each {what} is kept whole with probability {1 - op.p:g} and divided by "
            "it, so that its mean stays"
        )
    yield "in inference nothing happens"


@_remarks.register
def _(op: AlphaDropout, node: Node[Op]) -> Iterator[str]:
    if op.p < 1:
        yield (
            f"in training each element is kept with probability {1 - op.p:g}, else it is put to "
            "where `selu` ends; mean and variance stay"
        )
    yield "in inference nothing happens"


@_remarks.register
def _(op: LogSoftmax, node: Node[Op]) -> Iterator[str]:
    yield f"the {node.shape[0]} channels are negative, and their exponentials sum to 1"


@_remarks.register
def _(op: LayerScale, node: Node[Op]) -> Iterator[str]:
    yield f"a factor for each of {node.shape[0]} channels"


@_remarks.register
def _(op: Softmax, node: Node[Op]) -> Iterator[str]:
    yield f"the {node.shape[0]} channels are positive and sum to 1"


@_remarks.register
def _(op: PRelu, node: Node[Op]) -> Iterator[str]:
    one = op.parameters == "one"
    yield "one slope for all channels" if one else f"a slope for each of {node.shape[0]} channels"


@_remarks.register
def _(op: Rbf, node: Node[Op]) -> Iterator[str]:
    features = node.input_shapes[0][0]
    yield f"{op.units} centres in a space of {features} features; the nearest has the least output"


@_remarks.register
def _(op: Add, node: Node[Op]) -> Iterator[str]:
    yield " + ".join(f"`{value.id}`" for value in node.inputs) + ", element by element"


@_remarks.register
def _(op: Concat, node: Node[Op]) -> Iterator[str]:
    channels = [shape[0] for shape in node.input_shapes]
    yield f"channels: {' + '.join(map(str, channels))} = {node.shape[0]}"
    first = 0
    for value in node.inputs:
        yield f"  {first} to {first + value.shape[0] - 1} from `{value.id}`"
        first += value.shape[0]
