"""What a run or the spec says about the data: names of classes, and what becomes of pixels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cnnspec import data as sources
from cnnspec.augmentation import Normalize, Rescale
from cnnspec.data import Statistics
from cnnspec.data.preparation import steps_of
from cnnspec.data_section import DataSection
from cnnspec.diagnostics import DataError, Diagnostic, UserError
from cnnspec.files import read_bytes
from cnnspec.graph import Graph
from cnnspec.images import Scaling
from cnnspec.train.rundir import DATA

__all__ = ["Described", "class_names", "described", "scaling_of"]


@dataclass(frozen=True, slots=True)
class Described:
    """What a run directory says about its data.

    Attributes:
        classes: names of the classes, empty where it names none.
        statistics: by input, what was measured for the normalisation.
    """

    classes: tuple[str, ...] = ()
    statistics: Mapping[str, Statistics] = field(default_factory=dict)


def described(path: str) -> Described:
    """Read it from the run directory of some weights; nothing where they are a file of their own.

    Raises:
        SetupError: the file cannot be read.
        DataError: it is damaged.
    """
    file = os.path.join(path, DATA)
    if not os.path.isdir(path) or not os.path.exists(file):
        return Described()
    try:
        found = json.loads(read_bytes(file))
        classes = tuple(str(name) for name in found.get("classes", ()))
        statistics = {
            str(name): Statistics(_numbers(each["mean"]), _numbers(each["std"]))
            for name, each in found.get("statistics", {}).items()
        }
    except UserError:
        raise
    except Exception as fault:  # whatever a file of another form leads to
        text = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise DataError(
            Diagnostic("run-damaged", f"`{file}` is not what a run has written: {text}")
        ) from None
    return Described(classes, statistics)


def _numbers(values: object) -> tuple[float, ...]:
    if not isinstance(values, list) or not np.isfinite(np.array(values, np.float64)).all():
        raise ValueError("its statistics are not finite numbers")
    return tuple(float(value) for value in values)


def class_names(graph: Graph, data: str | None, run: Described) -> tuple[str, ...]:
    """Names of the classes: of the data that are named, else of the run, else of the spec.

    Data of the spec are not opened for it: they need not be on this machine.

    Raises:
        UserError: there are no such data.
    """
    if data is not None:
        return sources.load(data).classes
    if run.classes:
        return run.classes
    section = graph.data
    if section is None:
        return ()
    if section.classes is not None and all(isinstance(name, str) for name in section.classes):
        return tuple(str(name) for name in section.classes)
    if section.source.key == "digits":
        return sources.load("digits").classes
    return ()


def scaling_of(graph: Graph, name: str, channels: int, run: Described) -> Scaling:
    """What the spec's data section makes of pixels in [0, 1]; without one they stay so.

    Every step that treats all samples alike is linear in a pixel. Crops and resizing are left to
    `--resize`.

    Args:
        graph: the network.
        name: of the input.
        channels: that it has.
        run: whose statistics are used where the section has them measured.

    Raises:
        UserError: they have to be measured, and the data cannot be opened.
    """
    section = graph.data
    if section is None:
        return Scaling()
    gain = np.full(channels, 1.0 if section.rescale is None else 255 * section.rescale)
    offset = np.zeros(channels)
    for step in steps_of(section):
        if isinstance(step, Rescale):
            gain, offset = gain * step.scale, offset * step.scale + step.offset
        elif isinstance(step, Normalize):
            mean, std = step.mean, step.std
            if step.measured:
                known = _statistics(graph, section, name, run)
                mean, std = known.mean, known.std
            deviation = np.array(std or (1.0,))
            gain, offset = gain / deviation, (offset - np.array(mean or (0.0,))) / deviation
    if (gain == 1).all() and not offset.any():
        return Scaling()
    mean, std = tuple((-offset / gain).tolist()), tuple((1 / gain).tolist())
    return Scaling(mean=mean, std=std)


def _statistics(graph: Graph, section: DataSection, name: str, run: Described) -> Statistics:
    """As the run has stored them, else measured again."""
    known = run.statistics or sources.given(section, graph).statistics
    found = known.get(name) or next(iter(known.values()), None)
    if found is None:
        raise DataError(
            Diagnostic("run-damaged", f"the data have no statistics of the input `{name}`")
        )
    return found
