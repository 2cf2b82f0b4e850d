"""Data against the network that is to be trained on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from cnnspec.data import kinds
from cnnspec.data.dataset import Array, Dataset, Split
from cnnspec.diagnostics import DataError, Diagnostic, Label
from cnnspec.graph import Graph, Input, Output, Value
from cnnspec.ops.base import show

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
    inputs = _sources([entry.name for entry in graph.inputs], data.train.inputs)
    targets = _sources([output.name for output in graph.outputs], data.train.targets, spread=True)
    faults = [
        *_unnamed(data, "input", inputs, data.train.inputs, list(graph.inputs)),
        *_unnamed(data, "target", targets, data.train.targets, [o.value for o in graph.outputs]),
    ]
    if faults:
        raise DataError(faults)
    fitted = Dataset(
        data.name,
        _renamed(data.train, inputs, targets),
        _renamed(data.test, inputs, targets),
        data.classes,
    )
    for entry in graph.inputs:
        faults += _input(fitted, entry)
    for output in graph.outputs:
        faults += _target(fitted, graph, output)
    if faults:
        raise DataError(faults)
    return dataclasses.replace(
        fitted, train=_converted(fitted.train, graph), test=_converted(fitted.test, graph)
    )


def _sources(
    names: list[str], arrays: Mapping[str, Array], *, spread: bool = False
) -> dict[str, str]:
    """For each name of the network the name in the data, as far as there is one."""
    if len(arrays) == 1 and (spread or len(names) == 1):
        return dict.fromkeys(names, next(iter(arrays)))
    return {name: name for name in names if name in arrays}


def _unnamed(
    data: Dataset,
    kind: str,
    found: Mapping[str, str],
    arrays: Mapping[str, Array],
    values: list[Value],
) -> Iterator[Diagnostic]:
    if len(found) < len(values):
        yield Diagnostic(
            "data-names",
            f"the network has {len(values)} {'inputs' if kind == 'input' else 'outputs'}, and "
            f"the data `{data.name}` has no {kind} for each of them",
            _label(values[0]),
            notes=(f"the data has {', '.join(f'`{name}`' for name in arrays)}",),
        )


def _renamed(split: Split, inputs: Mapping[str, str], targets: Mapping[str, str]) -> Split:
    return Split(
        {name: split.inputs[source] for name, source in inputs.items()},
        {name: split.targets[source] for name, source in targets.items()},
    )


def _input(data: Dataset, entry: Input) -> Iterator[Diagnostic]:
    for split in (data.train, data.test):
        shape = split.inputs[entry.name].shape[1:]
        if shape != entry.shape:
            yield Diagnostic(
                "data-shape",
                f"`{entry.name}` is {show(entry.shape)}, and a sample of the data `{data.name}` "
                f"is {show(shape)}",
                _label(entry),
                help=f"`input: [{', '.join(str(size) for size in shape)}]` would fit this data",
            )
            return


def _converted(split: Split, graph: Graph) -> Split:
    """The same with targets as the losses read them."""
    assert graph.training is not None
    losses = graph.training.losses
    targets = {
        output.name: kinds.converted(
            losses[output.name].expects, split.targets[output.name], output.value.shape
        )
        for output in graph.outputs
    }
    return Split(split.inputs, targets)


def _target(data: Dataset, graph: Graph, output: Output) -> Iterator[Diagnostic]:
    assert graph.training is not None
    loss = graph.training.losses[output.name]
    kind, shape = loss.expects, output.value.shape
    for split in (data.train, data.test):
        target = split.targets[output.name]
        if not kinds.takes(kind, target, shape):
            whole = kind != "labels"
            yield Diagnostic(
                "target-kind",
                f"the loss `{loss.key}` of `{output.name}` needs {kind}, and the targets "
                f"of the data `{data.name}` are {'labels' if whole else 'values'}",
                _label(output.value),
                help="`cross_entropy` is the loss for labels" if whole else "",
            )
            return
        as_labels = kind == "labels" or kinds.are_labels(target, shape)
        wanted = shape[1:] if as_labels else shape
        if target.shape[1:] != wanted:
            yield Diagnostic(
                "target-shape",
                f"`{output.name}` is {show(shape)} and needs targets of {_shape(wanted)}, and "
                f"those of the data `{data.name}` are {_shape(target.shape[1:])}",
                _label(output.value),
            )
            return
        of_channels = as_labels and kind in ("labels", "probabilities")
        found = list(_labels(data, output, target)) if of_channels else []
        if not found and (fault := kinds.fault(kind, kinds.converted(kind, target, shape))):
            found = [
                Diagnostic(
                    "target-values",
                    f"the loss `{loss.key}` of `{output.name}` needs {kind}, and the data "
                    f"`{data.name}` has {fault}",
                    _label(output.value),
                    help="give the labels 0 and 1 as -1 and 1"
                    if kind == "signs" and np.isin(target, (0, 1)).all()
                    else "",
                )
            ]
        yield from found
        if found:
            return


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
