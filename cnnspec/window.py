"""Sliding windows: the output-size formula, in the one place where it exists.

Sizes are counted in elements along each spatial axis. A window reads `kernel` elements that
are `dilation` apart, moves by `stride`, and the axis is padded by (before, after) elements.
"""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Window:
    """A window with "same" and its like already resolved into explicit pads per side."""

    kernel: Size
    stride: Size
    dilation: Size
    pads: Pads

    @property
    def extent(self) -> Size:
        """Elements from the first to the last one read, per axis: (kernel - 1) * dilation + 1."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def output(self, size: Size) -> Size:
        """Number of window positions per axis; below 1 where the window does not fit."""
        return tuple(
            output_size(n, e, s, before, after)
            for n, e, s, (before, after) in zip(
                size, self.extent, self.stride, self.pads, strict=True
            )
        )

    def unread(self, size: Size) -> Size:
        """Real elements at the end of each axis that no window reads because of the floor."""
        return tuple(
            max(0, n + before - ((o - 1) * s + e))
            for n, o, e, s, (before, _) in zip(
                size, self.output(size), self.extent, self.stride, self.pads, strict=True
            )
        )

    def empty(self, size: Size) -> int | None:
        """The first axis on which some window position reads padding only, or None."""
        for axis, (n, o) in enumerate(zip(size, self.output(size), strict=True)):
            k, s, d = self.kernel[axis], self.stride[axis], self.dilation[axis]
            before = self.pads[axis][0]
            if before > (k - 1) * d or (o - 1) * s - before >= n:
                return axis
            # A window that starts before the data reads element (start mod d) first, which has
            # to be a real one; windows are counted, as there may be very many.
            early = min(o, -(-before // s))
            if d > n and _residues(early, s, -before, d, n):
                return axis
        return None

    @property
    def symmetric(self) -> bool:
        """Whether both sides of every axis are padded alike."""
        return all(before == after for before, after in self.pads)


def _residues(count: int, step: int, start: int, modulus: int, least: int) -> int:
    """How many of start, start + step, ... (count terms) are at least `least` modulo `modulus`."""
    shifted = _floor_sum(count, modulus, step, start + modulus - least)
    return shifted - _floor_sum(count, modulus, step, start)


def _floor_sum(count: int, m: int, a: int, b: int) -> int:
    """Sum over i < count of floor((a * i + b) / m), in logarithmic time."""
    total = 0
    while count > 0:
        total += count * (count - 1) // 2 * (a // m) + count * (b // m)
        a, b = a % m, b % m
        top = a * count + b
        if top < m:
            break
        # Count the lattice points under the line along the other axis.
        count, b, m, a = top // m, top % m, a, m
    return total


def output_size(n: int, extent: int, stride: int, before: int, after: int) -> int:
    """floor((n + before + after - extent) / stride) + 1."""
    return (n + before + after - extent) // stride + 1


def same_size(n: int, stride: int) -> int:
    """ceil(n / stride), the output size of "same" padding."""
    return -(-n // stride)


def resolve_pads(
    padding: str | int | Size | Pads, size: Size, kernel: Size, stride: Size, dilation: Size
) -> Pads:
    """Explicit (before, after) per axis for every form that a spec may give.

    `same` puts the odd element at the end, `same_lower` at the start; `causal` puts all of it
    at the start, so that an output never sees a later input.
    """
    axes = range(len(size))
    if isinstance(padding, int):
        return tuple((padding, padding) for _ in axes)
    if isinstance(padding, tuple):
        return tuple((p, p) if isinstance(p, int) else p for p in padding)
    pads = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        extent = (k - 1) * d + 1
        total = max((same_size(n, s) - 1) * s + extent - n, 0)
        match padding:
            case "valid":
                pads.append((0, 0))
            case "full":
                pads.append((extent - 1, extent - 1))
            case "causal":
                pads.append((extent - 1, 0))
            case "same":
                pads.append((total // 2, total - total // 2))
            case "same_lower":
                pads.append((total - total // 2, total // 2))
            case _:
                raise ValueError(f"unknown padding {padding!r}")
    return tuple(pads)


def with_ceil(pads: Pads, size: Size, kernel: Size, stride: Size, dilation: Size) -> Pads:
    """The pads that give ceil mode's output size through the floor formula.

    The number of windows is rounded up, but a last window that would start in the padding after
    the data is left out (the rule of torch).
    """
    result = []
    for n, k, s, d, (before, after) in zip(size, kernel, stride, dilation, pads, strict=True):
        extent = (k - 1) * d + 1
        positions = -(-(n + before + after - extent) // s) + 1
        if (positions - 1) * s >= n + before:
            positions -= 1
        result.append((before, max(0, (positions - 1) * s + extent - n - before)))
    return tuple(result)


@dataclass(frozen=True, slots=True)
class TransposedWindow:
    """A window that writes: each element of the input adds to the elements under its window.

    The full output has (n - 1) * stride + extent elements along each axis. Of these (lo, hi) are
    cropped at the start and at the end; a negative hi appends that many zeros instead.
    """

    kernel: Size
    stride: Size
    dilation: Size
    crops: Pads

    @property
    def extent(self) -> Size:
        """Elements from the first to the last one written: (kernel - 1) * dilation + 1."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def output(self, size: Size) -> Size:
        """The number of elements per axis; below 1 where the crops leave none."""
        return tuple(
            transposed_size(n, e, s, lo, hi)
            for n, e, s, (lo, hi) in zip(size, self.extent, self.stride, self.crops, strict=True)
        )


def transposed_size(n: int, extent: int, stride: int, lo: int, hi: int) -> int:
    """(n - 1) * stride + extent - lo - hi."""
    return (n - 1) * stride + extent - lo - hi


def resolve_crops(
    padding: str | int | Size | Pads,
    output_padding: Size | None,
    kernel: Size,
    stride: Size,
    dilation: Size,
) -> Pads:
    """Explicit crops (lo, hi) per axis for every form that a spec may give.

    Numbers are torch's: p crops (p, p - output_padding). `valid` and `same` are Keras', whose
    output padding, if it is not given, follows from the stride: `valid` then leaves at least
    `stride` elements for each one of the input, `same` exactly so many. Where `same` crops an odd
    number, it is one more at the end.
    """
    crops = []
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        extent = (k - 1) * d + 1
        more = None if output_padding is None else output_padding[axis]
        match padding:
            case "valid":
                more = max(s - extent, 0) if more is None else more
                crops.append((0, -more))
            case "same":
                total = extent - (s if more is None else extent % 2 + more)
                lo = max(total, 0) // 2
                crops.append((lo, total - lo))
            case str():
                raise ValueError(f"unknown padding {padding!r}")
            case _:
                entry = padding if isinstance(padding, int) else padding[axis]
                lo, hi = (entry, entry) if isinstance(entry, int) else entry
                crops.append((lo, hi - (more or 0)))
    return tuple(crops)
