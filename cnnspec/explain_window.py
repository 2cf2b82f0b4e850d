"""How a window's numbers give its output size, and what other numbers would give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cnnspec.ops.base import AXIS_NAMES, Shape, spatial
from cnnspec.ops.conv import Conv
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.ops.pool import Pool
from cnnspec.window import output_size, resolve_pads, same_size

MOST_PADDINGS = 8  # paddings on both sides alike that the table tries
NEAR = 2  # how far other kernels are tried

FORMULA = "o = floor((n + before + after - e) / s) + 1"
CEIL_FORMULA = "o = ceil((n + before + after - e) / s) + 1"


@dataclass(frozen=True, slots=True)
class Axis:
    """The numbers of a window along one axis; `before` and `after` are the declared padding."""

    n: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    output: int
    ceil: bool = False

    @property
    def extent(self) -> int:
        """Elements from the first to the last one that a window reads."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def floor(self) -> int:
        """The output size by the formula, without ceil mode."""
        return output_size(self.n, self.extent, self.stride, self.before, self.after)

    @property
    def rest(self) -> int:
        """What the division leaves over; the window fits exactly if that is nothing."""
        return (self.n + self.before + self.after - self.extent) % self.stride

    @property
    def is_same(self) -> bool:
        """Whether the output size is that of "same" padding."""
        return self.floor == same_size(self.n, self.stride)


Windowed = Conv | DepthwiseConv | SeparableConv | Pool


def axes(op: Windowed, shape: Shape) -> list[tuple[str, Axis]]:
    """Every axis with different numbers once, under the names of all that share them."""
    space = spatial(shape)
    window = op.window(shape)
    declared = op.pads(shape) if isinstance(op, Pool) else window.pads
    ceil = isinstance(op, Pool) and op.ceil_mode
    found: dict[Axis, list[str]] = {}
    for i, name in enumerate(AXIS_NAMES[len(space)]):
        axis = Axis(
            n=space[i],
            kernel=window.kernel[i],
            stride=window.stride[i],
            dilation=window.dilation[i],
            before=declared[i][0],
            after=declared[i][1],
            output=window.output(space)[i],
            ceil=ceil,
        )
        found.setdefault(axis, []).append(name)
    return [(", ".join(names), axis) for axis, names in found.items()]


def substituted(axis: Axis) -> str:
    """The formula with the numbers in it."""
    rounding = "ceil" if axis.ceil else "floor"
    inner = f"{axis.n} + {axis.before} + {axis.after} - {axis.extent}"
    less = ""
    if axis.ceil and axis.output < axis.floor + bool(axis.rest):
        less = " - 1"
    return f"{rounding}(({inner}) / {axis.stride}) + 1{less} = {axis.output}"


def long(op: Windowed, shape: Shape) -> Iterator[str]:
    """Everything about the output size, line by line."""
    ceil = isinstance(op, Pool) and op.ceil_mode
    yield f"output size: {CEIL_FORMULA if ceil else FORMULA}, where the kernel spans"
    yield "e = (k - 1) * d + 1 elements"
    for names, axis in axes(op, shape):
        yield ""
        yield (
            f"{names}: n = {axis.n}, k = {axis.kernel}, s = {axis.stride}, d = {axis.dilation}, "
            + (f"e = {axis.extent}")
        )
        yield f"  {substituted(axis)}"
        yield from (f"  {line}" for line in (*_padding(op.padding, axis), *_rest(axis)))
        yield ""
        yield from (f"  {line}" for line in _table(axis))
        yield ""
        yield from (f"  {line}" for line in _others(op, axis))


def _padding(padding: object, axis: Axis) -> Iterator[str]:
    total = axis.before + axis.after
    if padding in ("same", "same_lower"):
        wanted = same_size(axis.n, axis.stride)
        yield (
            f"`{padding}` wants ceil(n / s) = ceil({axis.n} / {axis.stride}) = {wanted} and so "
            f"pads {total}: {axis.before} before and {axis.after} after"
        )
    elif isinstance(padding, str) and padding != "valid":
        yield f"`{padding}` pads {axis.before} before and {axis.after} after"


def _rest(axis: Axis) -> Iterator[str]:
    if not axis.rest:
        yield "the window fits exactly: nothing is left over at the end"
    elif axis.ceil and axis.output > axis.floor:
        yield f"ceil mode adds a window, which reaches {axis.stride - axis.rest} beyond the end"
    elif axis.ceil:
        yield "ceil mode adds no window, as it would start behind the data"
    else:
        real = max(0, axis.rest - axis.after)
        padding = axis.rest - real
        parts = [f"{real} of the input"] if real else []
        parts += [f"{padding} of the padding"] if padding else []
        yield f"floor drops a rest of {axis.rest} at the end, never read: {' and '.join(parts)}"


def _paddings(axis: Axis) -> Iterator[tuple[int, int]]:
    """Both sides alike; and one more after than before where only that fits exactly or is same."""
    for p in range(min(axis.extent, MOST_PADDINGS)):
        for before, after in ((p, p), (p, p + 1)):
            tried = replace(axis, before=before, after=after)
            worth = not tried.rest and (axis.stride > 1 or tried.is_same)
            if before == after or worth:
                yield before, after


def _table(axis: Axis) -> Iterator[str]:
    tried = {*_paddings(axis), (axis.before, axis.after)}
    rows = [("padding", "output", "")]
    for before, after in sorted(tried, key=lambda pads: (sum(pads), pads)):
        other = replace(axis, before=before, after=after)
        if other.floor < 1:
            continue
        pads = str(before) if before == after else f"[{before}, {after}]"
        marks = ["fits exactly" if not other.rest else f"{other.rest} left over"]
        marks += ["same"] if other.is_same else []
        this = "  <- this layer" if (before, after) == (axis.before, axis.after) else ""
        rows.append((pads, str(other.floor), ", ".join(marks) + this))
    width = max(len(row[0]) for row in rows)
    for padding, output, remark in rows:
        yield f"{padding:>{width}}  {output:>6}  {remark}".rstrip()


def _others(op: Windowed, axis: Axis) -> Iterator[str]:
    kernels = range(max(1, axis.kernel - NEAR), axis.kernel + NEAR + 1)
    yield "kernel: " + _tried(
        _padded(op, replace(axis, kernel=k)) for k in kernels if k != axis.kernel
    )
    strides = range(1, axis.stride + NEAR + 1)
    yield "stride: " + _tried(
        (_padded(op, replace(axis, stride=s)) for s in strides if s != axis.stride), "stride"
    )
    plain = replace(axis, before=0, after=0)
    if axis.stride > 1 and plain.floor >= 1:
        sizes = [axis.n - plain.rest, axis.n - plain.rest + axis.stride]
        fits = " and ".join(f"{n} -> {replace(plain, n=n).floor}" for n in sizes)
        yield f"input sizes that fit exactly without padding: {fits}"


def _padded(op: Windowed, axis: Axis) -> Axis:
    """The axis with its padding resolved again, where it is a word that follows the numbers."""
    if not isinstance(op.padding, str):
        return axis
    sizes = ((axis.n,), (axis.kernel,), (axis.stride,), (axis.dilation,))
    ((before, after),) = resolve_pads(op.padding, *sizes)
    return replace(axis, before=before, after=after)


def _tried(others: Iterable[Axis], what: str = "kernel") -> str:
    found = []
    for other in others:
        if other.floor >= 1:
            mark = "" if other.rest else "*"
            found.append(f"{getattr(other, what)} -> {other.floor}{mark}")
    return (", ".join(found) + "  (* fits exactly)") if found else "no other near this one fits"
