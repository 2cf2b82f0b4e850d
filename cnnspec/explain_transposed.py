"""How a transposed window's numbers give its output size, and what other numbers would give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cnnspec.ops.base import AXIS_NAMES, Shape, spatial
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.window import resolve_crops, transposed_size

MOST_PADDINGS = 5  # paddings on both sides alike that the table tries
NEAR = 2  # how far other kernels are tried

FORMULA = "o = (n - 1) * s + e - lo - hi"


@dataclass(frozen=True, slots=True)
class Axis:
    """The numbers of a transposed window along one axis; `lo` and `hi` are cropped."""

    n: int
    kernel: int
    stride: int
    dilation: int
    lo: int
    hi: int

    @property
    def extent(self) -> int:
        """Elements from the first to the last one that a window writes."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def output(self) -> int:
        """The output size by the formula."""
        return transposed_size(self.n, self.extent, self.stride, self.lo, self.hi)


def axes(op: ConvTranspose, shape: Shape) -> list[tuple[str, Axis]]:
    """Every axis with different numbers once, under the names of all that share them."""
    space = spatial(shape)
    window = op.transposed_window(shape)
    found: dict[Axis, list[str]] = {}
    for i, name in enumerate(AXIS_NAMES[len(space)]):
        axis = Axis(
            space[i], window.kernel[i], window.stride[i], window.dilation[i], *window.crops[i]
        )
        found.setdefault(axis, []).append(name)
    return [(", ".join(names), axis) for axis, names in found.items()]


def substituted(axis: Axis) -> str:
    """The formula with the numbers in it."""
    end = f"- {axis.hi}" if axis.hi >= 0 else f"+ {-axis.hi}"
    full = f"({axis.n} - 1) * {axis.stride} + {axis.extent}"
    return f"{full} - {axis.lo} {end} = {axis.output}"


def long(op: ConvTranspose, shape: Shape) -> Iterator[str]:
    """Everything about the output size, line by line."""
    yield f"output size: {FORMULA}, where the kernel spans"
    yield "e = (k - 1) * d + 1 elements, and lo and hi are cropped at the start and at the end"
    for names, axis in axes(op, shape):
        yield ""
        yield (
            f"{names}: n = {axis.n}, k = {axis.kernel}, s = {axis.stride}, d = {axis.dilation}, "
            f"e = {axis.extent}"
        )
        yield f"  {substituted(axis)}"
        yield from (f"  {line}" for line in _crops(op.padding, axis))
        yield ""
        yield from (f"  {line}" for line in _table(axis))
        yield ""
        yield from (f"  {line}" for line in _others(op, axis))


def _crops(padding: object, axis: Axis) -> Iterator[str]:
    if padding == "same":
        wanted = f"n * s = {axis.n} * {axis.stride}"
        rounded = axis.output == axis.n * axis.stride
        yield f"`same` wants {wanted} = {axis.output}" if rounded else "`same` with output padding"
    elif padding == "valid":
        yield "`valid` crops nothing"
    ends = [f"{axis.lo} at the start"] if axis.lo else []
    ends += [f"{axis.hi} at the end"] if axis.hi > 0 else []
    if ends:
        yield f"cropped: {' and '.join(ends)}"
    if axis.hi < 0:
        yield f"appended: {-axis.hi} at the end, which no window writes"
    if axis.stride > axis.extent:
        gap = axis.stride - axis.extent
        yield f"the windows leave gaps of {gap} between them, as the stride is above their span"


def _table(axis: Axis) -> Iterator[str]:
    """Paddings on both sides alike, with each output padding that they may have."""
    rows = [("padding", "output padding", "output", "")]
    for p in range(MOST_PADDINGS):
        for more in range(max(axis.stride, axis.dilation)):
            other = replace(axis, lo=p, hi=p - more)
            this = (other.lo, other.hi) == (axis.lo, axis.hi)
            exact = other.output == axis.n * axis.stride
            if other.output < 1 or not (more == 0 or exact or this):
                continue
            mark = "n * s" if exact else ""
            here = "  <- this layer" if this else ""
            rows.append((str(p), str(more), str(other.output), mark + here))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for *cells, remark in rows:
        aligned = "  ".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        yield f"{aligned}  {remark}".rstrip()


def _others(op: ConvTranspose, axis: Axis) -> Iterator[str]:
    kernels = range(max(1, axis.kernel - NEAR), axis.kernel + NEAR + 1)
    tried = (_cropped(op, replace(axis, kernel=k)) for k in kernels if k != axis.kernel)
    yield "kernel: " + ", ".join(f"{a.kernel} -> {a.output}" for a in tried if a.output > 0)
    strides = range(1, axis.stride + NEAR + 1)
    tried = (_cropped(op, replace(axis, stride=s)) for s in strides if s != axis.stride)
    yield "stride: " + ", ".join(f"{a.stride} -> {a.output}" for a in tried if a.output > 0)


def _cropped(op: ConvTranspose, axis: Axis) -> Axis:
    """The axis with its crops resolved again, where a word says what they are."""
    if not isinstance(op.padding, str) or op.output_padding is not None:
        return axis
    ((lo, hi),) = resolve_crops(op.padding, None, (axis.kernel,), (axis.stride,), (axis.dilation,))
    return replace(axis, lo=lo, hi=hi)
