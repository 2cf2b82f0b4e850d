"""Whether steps can be done with these data; each that cannot is one diagnostic at its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cnnspec.augmentation import Augmentation, Crop, Cutout, Flip, Geometric, Mixup, Shift
from cnnspec.data.geometry import AXES, padding_of, window_of
from cnnspec.data.stored import Stored
from cnnspec.data_section import DataSection
from cnnspec.diagnostics import DataError, Diagnostic, Label
from cnnspec.ops.base import Shape, show

__all__ = ["require_suitable"]


def require_suitable(
    stored: Stored,
    steps: Sequence[Augmentation],
    labels: Sequence[Label | None],
    section: DataSection,
) -> None:
    """Refuse steps that these data have not the axes, sizes or targets for.

    Raises:
        DataError: with every such step.
    """
    shapes = {name: shape for name, shape in stored.shapes.items() if len(shape) > 1}
    shapes = shapes or dict(stored.shapes)
    faults: list[Diagnostic] = []
    for step, label in zip(steps, labels, strict=True):
        found = [*_inputs(step, shapes, label), *_targets(step, stored, label, section)]
        faults += found
        if isinstance(step, Crop) and not found:
            shapes = {n: (s[0], *window_of(step, s[1:])) for n, s in shapes.items()}
    if faults:
        raise DataError(faults)


def _inputs(
    step: Augmentation, shapes: Mapping[str, Shape], label: Label | None
) -> Iterator[Diagnostic]:
    for name, shape in shapes.items():
        axes = len(shape) - 1
        if axes < step.least_axes:
            yield Diagnostic(
                "augment-axes",
                f"`{step.key}` needs {_many(step.least_axes)} of space, and a sample of `{name}` "
                f"is {show(shape)}",
                label,
            )
            continue
        named = _absent(step, axes)
        if named:
            yield Diagnostic(
                "augment-axes",
                f"`{step.key}` goes along the {named}, and a sample of `{name}` is {show(shape)}",
                label,
                help=f"there is {', '.join(AXES[-axes:])}",
            )
            continue
        sizes = step.size if isinstance(step, Crop | Cutout) else None
        if isinstance(sizes, tuple) and len(sizes) != axes:
            yield _count(step, "size", len(sizes), name, shape, label)
        elif isinstance(step, Crop):
            yield from _crop(step, name, shape, label)


def _crop(step: Crop, name: str, shape: Shape, label: Label | None) -> Iterator[Diagnostic]:
    space = shape[1:]
    if isinstance(step.padding, tuple) and len(step.padding) != len(space):
        yield _count(step, "padding", len(step.padding), name, shape, label)
        return
    sizes, pads = window_of(step, space), padding_of(step, len(space))
    for size, n, pad in zip(sizes, space, pads, strict=True):
        if size > n + 2 * pad:
            yield Diagnostic(
                "crop-too-large",
                f"`crop` cuts {show(sizes)} out of `{name}`, which is {show(space)} and has "
                f"{n + 2 * pad} pixels with its padding",
                label,
                help=f"`padding: {-(-(size - n) // 2)}` would do",
            )
            return


def _absent(step: Augmentation, axes: int) -> str:
    """The first axis that a step names and data of so many do not have."""
    given: dict[str, bool] = {}
    if isinstance(step, Shift):
        given = {name: getattr(step, name) != 0 for name in AXES}
    elif isinstance(step, Flip):
        given = {"depth": step.depth, "height": step.vertical, "width": step.horizontal}
    missing = [name for name in AXES[: len(AXES) - axes] if given.get(name)]
    return missing[0] if missing else ""


def _count(
    step: Augmentation, field: str, count: int, name: str, shape: Shape, label: Label | None
) -> Diagnostic:
    return Diagnostic(
        "augment-axes",
        f"`{field}` of `{step.key}` has {count} entries, and a sample of `{name}` is "
        f"{show(shape)}, with {_many(len(shape) - 1)} of space",
        label,
    )


def _targets(
    step: Augmentation, stored: Stored, label: Label | None, section: DataSection
) -> Iterator[Diagnostic]:
    for name, array in stored.targets.items():
        labels = bool(np.issubdtype(array.dtype, np.integer))
        places = array.ndim - 1 if labels else max(array.ndim - 2, 0)
        if isinstance(step, Geometric | Crop) and places:
            yield Diagnostic(
                "augment-targets",
                f"`{step.key}` moves the pixels of the inputs, and the targets `{name}`, which "
                "have places of their own, would stay",
                label,
            )
        elif isinstance(step, Mixup) and labels and places:
            yield Diagnostic(
                "augment-targets",
                f"`mixup` mixes one label a sample, and the targets `{name}` have "
                f"{show(array.shape[1:])} of them",
                label,
            )


def _many(axes: int) -> str:
    return "1 axis" if axes == 1 else f"{axes} axes"
