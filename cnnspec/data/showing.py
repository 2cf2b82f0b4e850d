"""The `data` commands: what a section stands for, in numbers and as a sheet of samples."""

from __future__ import annotations

import io
import json

import numpy as np

from cnnspec import data as sources
from cnnspec import files
from cnnspec.data.dataset import Arrays, Dataset, Index, Samples
from cnnspec.data.sheet import Cell, sheet
from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.graph import Graph
from cnnspec.ops.base import show
from cnnspec.quote import shown

__all__ = ["described", "preview"]

MOST_CLASSES = 20
"""Of which a text names each with its count."""

AT_ONCE = 256


def preview(
    graph: Graph,
    path: str,
    *,
    data: str | None = None,
    epoch: int = 0,
    count: int = 8,
    variants: int = 5,
    seed: int | None = None,
    force: bool = False,
) -> str:
    """Write a sheet of training samples, each untouched and as some epochs see it.

    Args:
        graph: of the spec.
        path: a PNG file to write.
        data: the name of a source, instead of the section.
        epoch: the first one, counted from 0.
        count: samples, those that this epoch begins with.
        variants: epochs.
        seed: instead of the one of the spec.
        force: whether an existing file may be replaced.

    Returns:
        A remark on what was written.

    Raises:
        DataError: the data are at fault, or are no images.
        SetupError: the file cannot be written, or Pillow is missing.
    """
    files.require_writable(path, force=force)
    found = sources.given(data, graph, seed=seed)
    train, name = found.train, _image(found)
    seed = graph.seed if seed is None else seed
    chosen = sources.order(seed, epoch, len(train))[:count]
    epochs = [None, *range(epoch, epoch + variants)]
    columns = [_column(train, found.classes, name, chosen, each) for each in epochs]
    titles = ["untouched", *(f"epoch {each}" for each in epochs[1:])]
    stream = io.BytesIO()
    sheet(titles, [f"sample {number}" for number in chosen], columns).save(stream, format="PNG")
    files.write_bytes(path, stream.getvalue(), force=force)
    return f"wrote {len(chosen)} samples of `{found.name}` to {path}"


def _image(data: Dataset) -> str:
    """The first input that is an image."""
    for name, shape in data.train.shapes.items():
        if len(shape) == 3:
            return name
    shapes = ", ".join(show(shape) for shape in data.train.shapes.values())
    raise DataError(
        Diagnostic(
            "no-images",
            f"a sample of the data `{data.name}` is {shapes}, and images have channels, height and "
            "width",
        )
    )


def _column(
    train: Samples, classes: tuple[str, ...], name: str, chosen: Index, epoch: int | None
) -> list[Cell]:
    inputs, targets = train.take(chosen, epoch)
    return [Cell(image, _caption(targets, classes, i)) for i, image in enumerate(inputs[name])]


def _caption(targets: Arrays, classes: tuple[str, ...], position: int) -> str:
    """The classes of a sample, of which mixing gives it two."""
    if len(targets) > 1:
        return ""
    target = next(iter(targets.values()))[position]
    if target.ndim == 0 and np.issubdtype(target.dtype, np.integer):
        return shown(_name(classes, int(target)), 24)
    if target.ndim == 1 and np.isclose(target.sum(), 1):
        largest = [n for n in np.argsort(-target, kind="stable")[:2] if target[n] > 0]
        if len(largest) == 1:
            return shown(_name(classes, int(largest[0])), 24)
        return ", ".join(f"{shown(_name(classes, int(n)), 9)}: {target[n]:.0%}" for n in largest)
    return ""


def _name(classes: tuple[str, ...], label: int) -> str:
    return classes[label] if label < len(classes) else str(label)


def described(graph: Graph, *, data: str | None = None, form: str = "text") -> str:
    """Sizes, classes, shapes, statistics of each channel, and files that were left out.

    Args:
        graph: of the spec.
        data: the name of a source, instead of the section.
        form: "text" or "json".

    Raises:
        DataError: the data are at fault.
        SetupError: a library is missing.
    """
    found = sources.given(data, graph)
    facts = _facts(found)
    if form == "json":
        return json.dumps(facts, indent=2, ensure_ascii=False)
    return "\n".join(_lines(facts))


def _facts(data: Dataset) -> dict[str, object]:
    halves = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        "source": data.name,
        "samples": {name: len(half) for name, half in halves.items() if half is not None},
        "inputs": {
            name: {"shape": list(shape), **_statistics(data.train, name)}
            for name, shape in data.train.shapes.items()
        },
        "targets": {
            name: {"type": str(array.dtype), "shape": list(array.shape[1:])}
            for name, array in data.train.targets.items()
        },
        "classes": _classes(data),
        "normalized_by": {
            name: {"mean": list(each.mean), "std": list(each.std)}
            for name, each in data.statistics.items()
        },
        "skipped": list(data.skipped),
        "notes": list(data.notes),
    }


def _statistics(train: Samples, name: str) -> dict[str, object]:
    """Of each channel of the prepared samples, over all of them without augmentation."""
    total = square = np.float64(0)
    low, high, count = np.inf, -np.inf, 0
    for start in range(0, len(train), AT_ONCE):
        x = train.take(slice(start, start + AT_ONCE))[0][name]
        axes = (0, *range(2, x.ndim))
        total, square = total + x.sum(axis=axes), square + np.square(x).sum(axis=axes)
        low, high = min(low, float(x.min())), max(high, float(x.max()))
        count += x[:, 0].size
    mean = np.atleast_1d(total / count)
    std = np.sqrt(np.maximum(np.atleast_1d(square / count) - np.square(mean), 0))
    return {"min": low, "max": high, "mean": mean.tolist(), "std": std.tolist()}


def _classes(data: Dataset) -> list[dict[str, object]]:
    """Name and counts of each class, where the targets are one label a sample."""
    arrays = [next(iter(half.targets.values())) for half in (data.train, data.test)]
    several = len(data.train.targets) > 1
    if several or any(a.ndim > 1 or not np.issubdtype(a.dtype, np.integer) for a in arrays):
        return []
    if min(int(array.min()) for array in arrays) < 0:
        return []
    most = max(len(data.classes), *(int(array.max()) + 1 for array in arrays))
    train, test = (np.bincount(array, minlength=most) for array in arrays)
    return [
        {"name": _name(data.classes, i), "train": int(train[i]), "test": int(test[i])}
        for i in range(most)
    ]


def _lines(facts: dict[str, object]) -> list[str]:
    samples, inputs, targets = facts["samples"], facts["inputs"], facts["targets"]
    classes, skipped, notes = facts["classes"], facts["skipped"], facts["notes"]
    assert isinstance(samples, dict)
    assert isinstance(inputs, dict)
    assert isinstance(targets, dict)
    assert isinstance(classes, list)
    assert isinstance(skipped, list)
    assert isinstance(notes, list)
    lines = [f"source      {facts['source']}"]
    lines.append("samples     " + ", ".join(f"{n:,} {name}" for name, n in samples.items()))
    for name, each in inputs.items():
        shape = show(tuple(each["shape"]))
        lines.append(f"input       {name}: {shape}, {each['min']:.6g} to {each['max']:.6g}")
        for channel, (mean, std) in enumerate(zip(each["mean"], each["std"], strict=True)):
            if channel < MOST_CLASSES:
                lines.append(f"  channel {channel}: mean {mean:.6g}, deviation {std:.6g}")
    for name, each in targets.items():
        shape = show(tuple(each["shape"])) if each["shape"] else "one a sample"
        lines.append(f"target      {name}: {each['type']}, {shape}")
    if classes:
        lines.append(f"classes     {len(classes)}")
        lines += [
            f"  {shown(each['name'])}: {each['train']:,} train, {each['test']:,} test"
            for each in classes[:MOST_CLASSES]
        ]
        if len(classes) > MOST_CLASSES:
            lines.append(f"  and {len(classes) - MOST_CLASSES} more")
    if skipped:
        lines.append(f"skipped     {len(skipped)}")
        lines += [f"  {each}" for each in skipped]
    return [*lines, *(f"note        {each}" for each in notes)]
