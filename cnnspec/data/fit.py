"""Data against the network that is to be trained on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from cnnspec.data import kinds
from cnnspec.data.converted import Converted
from cnnspec.data.dataset import Array, Dataset, Samples
from cnnspec.diagnostics import DataError, Diagnostic, Label
from cnnspec.graph import Graph, Input, Output, Value
from cnnspec.ops.base import show
from cnnspec.training.losses import Targets

__all__ = ["fit"]


def fit(data: Dataset, graph: Graph) -> Dataset:
    """The same data under the names of the network, once its shapes and labels are found right.

    One input array goes to a network's only input, whatever they are called, and one target array
    to every output, as auxiliary heads need it. Several go by their names.

    Args:
        data: from a source, or made by hand.
        graph: with a `train:` section.

    Raises:
        DataError: names, shapes or labels do not fit; all faults together, with the place in the
            spec that they contradict.
    """
    assert graph.training is not None
    inputs = _sources([entry.name for entry in graph.inputs], [*data.train.shapes])
    known = [*data.train.targets]
    targets = _sources([output.name for output in graph.outputs], known, spread=True)
    faults = [
        *_unnamed(data, "input", inputs, [*data.train.shapes], list(graph.inputs)),
        *_unnamed(data, "target", targets, known, [o.value for o in graph.outputs]),
    ]
    if faults:
        raise DataError(faults)
    fitted = _renamed(data, inputs, targets, {})
    for entry in graph.inputs:
        faults += _input(fitted, entry)
    for output in graph.outputs:
        faults += _target(fitted, graph, output)
    faults += _batch(data, graph)
    if faults:
        raise DataError(faults)
    encoded = {
        output.name: output.value.shape[0]
        for output in graph.outputs
        if _expected(graph, output) == "probabilities"
        and kinds.are_labels(fitted.train.targets[output.name], output.value.shape)
    }
    return _converted(_renamed(data, inputs, targets, encoded) if encoded else fitted, graph)


def _sources(names: list[str], known: list[str], *, spread: bool = False) -> dict[str, str]:
    """For each name of the network the name in the data, as far as there is one."""
    if len(known) == 1 and (spread or len(names) == 1):
        return dict.fromkeys(names, known[0])
    return {name: name for name in names if name in known}


def _unnamed(
    data: Dataset,
    kind: str,
    found: Mapping[str, str],
    known: list[str],
    values: list[Value],
) -> Iterator[Diagnostic]:
    if len(found) < len(values):
        yield Diagnostic(
            "data-names",
            f"the network has {len(values)} {'inputs' if kind == 'input' else 'outputs'}, and "
            f"the data `{data.name}` has no {kind} for each of them",
            _label(values[0]),
            notes=(f"the data has {', '.join(f'`{name}`' for name in known)}",),
        )


def _renamed(
    data: Dataset,
    inputs: Mapping[str, str],
    targets: Mapping[str, str],
    probabilities: Mapping[str, int],
) -> Dataset:
    def half(samples: Samples) -> Samples:
        return samples.renamed(inputs, targets, probabilities)

    kept = {name: data.statistics[s] for name, s in inputs.items() if s in data.statistics}
    return dataclasses.replace(
        data,
        train=half(data.train),
        test=half(data.test),
        validation=None if data.validation is None else half(data.validation),
        statistics=kept,
    )


def _halves(data: Dataset) -> tuple[Samples, ...]:
    return (data.train, data.test, *([data.validation] if data.validation is not None else []))


def _converted(data: Dataset, graph: Graph) -> Dataset:
    """The same with whole numbers as values, where losses read those."""
    wanted = {
        output.name: (_expected(graph, output), output.value.shape)
        for output in graph.outputs
        if _expected(graph, output) != "labels" and _whole(data.train, output.name)
    }
    if not wanted:
        return data
    return dataclasses.replace(
        data,
        train=Converted(data.train, wanted),
        test=Converted(data.test, wanted),
        validation=None if data.validation is None else Converted(data.validation, wanted),
    )


def _expected(graph: Graph, output: Output) -> Targets:
    """What the loss of an output compares it with."""
    assert graph.training is not None
    return graph.training.losses[output.name].expects


def _whole(samples: Samples, name: str) -> bool:
    return bool(np.issubdtype(samples.targets[name].dtype, np.integer))


def _batch(data: Dataset, graph: Graph) -> Iterator[Diagnostic]:
    assert graph.training is not None
    batch, count = graph.training.batch, len(data.train)
    if batch > count:
        yield Diagnostic(
            "batch-too-large",
            f"a batch has {batch:,} samples, and the training half of the data `{data.name}` has "
            f"{count:,}",
            None if graph.data is None else graph.data.label("source"),
            help=f"`batch: {count}` takes all of them at once",
        )


def _input(data: Dataset, entry: Input) -> Iterator[Diagnostic]:
    for split in _halves(data):
        shape = split.shapes[entry.name]
        if shape != entry.shape:
            yield Diagnostic(
                "data-shape",
                f"`{entry.name}` is {show(entry.shape)}, and a sample of the data `{data.name}` "
                f"is {show(shape)}",
                _label(entry),
                help=f"`input: [{', '.join(str(size) for size in shape)}]` would fit this data",
            )
            return


def _target(data: Dataset, graph: Graph, output: Output) -> Iterator[Diagnostic]:
    assert graph.training is not None
    loss = graph.training.losses[output.name]
    expected = _expected(graph, output)
    shape = output.value.shape
    for split in _halves(data):
        target = split.targets[output.name]
        whole = _whole(split, output.name)
        if not kinds.takes(expected, target, shape):
            found_kind = "labels" if whole else "values"
            yield _other_kind(data, output, loss.key, expected, found_kind)
            return
        as_labels = expected == "labels" or kinds.are_labels(target, shape)
        wanted = shape[1:] if as_labels else shape
        if target.shape[1:] != wanted:
            yield Diagnostic(
                "target-shape",
                f"`{output.name}` is {show(shape)} and needs targets of {_shape(wanted)}, and "
                f"those of the data `{data.name}` are {_shape(target.shape[1:])}",
                _label(output.value),
            )
            return
        of_channels = as_labels and expected in ("labels", "probabilities")
        found = list(_labels(data, output, target)) if of_channels else []
        if not found and not (of_channels and expected == "probabilities"):
            found = list(_values(data, output, loss.key, expected, target))
        yield from found
        if found:
            return
    whole, target = _whole(data.train, output.name), data.train.targets[output.name]
    classes = expected == "probabilities" and kinds.are_labels(target, shape)
    if data.train.mixes and (expected == "signs" or (whole and not classes)):
        yield Diagnostic(
            "mixup-needs-probabilities",
            f"`mixup` makes probabilities of labels, and the loss `{loss.key}` of "
            f"`{output.name}` needs {expected}",
            _label(output.value),
            help="`cross_entropy: {targets: probabilities}`",
        )


def _other_kind(data: Dataset, output: Output, loss: str, expected: str, found: str) -> Diagnostic:
    help = "`cross_entropy` is the loss for labels"
    if expected == "labels":
        help = "labels are whole numbers; store them in an array of integers"
    return Diagnostic(
        "target-kind",
        f"the loss `{loss}` of `{output.name}` needs {expected}, and the targets of the data "
        f"`{data.name}` are {found}",
        _label(output.value),
        help=help,
    )


def _values(
    data: Dataset, output: Output, loss: str, expected: Targets, target: Array
) -> Iterator[Diagnostic]:
    """What is wrong with the values of targets."""
    fault = kinds.fault(expected, kinds.converted(expected, target, output.value.shape))
    if fault:
        yield Diagnostic(
            "target-values",
            f"the loss `{loss}` of `{output.name}` needs {expected}, and the data `{data.name}` "
            f"has {fault}",
            _label(output.value),
            help="give the labels 0 and 1 as -1 and 1"
            if expected == "signs" and np.isin(target, (0, 1)).all()
            else "",
        )


def _labels(data: Dataset, output: Output, target: Array) -> Iterator[Diagnostic]:
    channels = output.value.shape[0]
    if data.classes and len(data.classes) != channels:
        yield Diagnostic(
            "class-count",
            f"`{output.name}` has {channels} channels, and the data `{data.name}` has "
            f"{len(data.classes)} classes",
            _label(output.value),
            help=f"{len(data.classes)} channels would fit",
        )
    elif target.min() < 0 or target.max() >= channels:
        worst = int(target.min()) if target.min() < 0 else int(target.max())
        yield Diagnostic(
            "label-range",
            f"the data `{data.name}` has a label {worst}, and `{output.name}` has {channels} "
            f"channels, for labels 0 to {channels - 1}",
            _label(output.value),
        )


def _shape(shape: tuple[int, ...]) -> str:
    return show(shape) if shape else "one number a sample"


def _label(value: Value) -> Label | None:
    return None if value.origin is None else Label(value.origin.span)
