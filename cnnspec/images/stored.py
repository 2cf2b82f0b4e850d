"""A sample out of the data that a network is tested on."""

from __future__ import annotations

import numpy as np

from cnnspec.data import Dataset
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.graph import Graph
from cnnspec.images.sample import Sample
from cnnspec.ops.base import show

__all__ = ["stored_sample"]


def stored_sample(data: Dataset, number: int, graph: Graph) -> Sample:
    """A sample of the test set, under the names of the network.

    Args:
        data: whose test set it is of.
        number: counted from 0.
        graph: the network.

    Raises:
        SetupError: there are not as many.
        DataError: the data have other inputs than the network.
    """
    if number >= len(data.test):
        raise SetupError(
            Diagnostic(
                "unknown-sample",
                f"the test set of `{data.name}` has {len(data.test):,} samples, 0 to "
                f"{len(data.test) - 1:,}, and no {number}",
            )
        )
    inputs, targets = data.test.take(np.array([number]))
    names = [entry.name for entry in graph.inputs]
    if len(names) == len(inputs) == 1:
        inputs = dict(zip(names, inputs.values(), strict=True))
    for entry in graph.inputs:
        found = inputs[entry.name].shape[1:] if entry.name in inputs else None
        if found != entry.shape:
            what = f"is {show(found)} in it" if found else "is not in it"
            raise DataError(
                Diagnostic(
                    "image-does-not-fit",
                    f"`{entry.name}` is {show(entry.shape)}, and {what}: data `{data.name}`",
                )
            )
    notes = [f"number {number} of the test set of {data.name}"]
    for value in targets.values():
        if np.issubdtype(value.dtype, np.integer) and value.ndim == 1:
            label = int(value[0])
            name = data.classes[label] if label < len(data.classes) else str(label)
            notes.append(f"labelled {name}")
    arrays = {name: np.asarray(inputs[name], np.float64) for name in names}
    return Sample(f"{data.name}, test sample {number}", arrays, tuple(notes))
