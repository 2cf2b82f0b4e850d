"""The types of a spec as written: its form is checked, names and shapes are not resolved yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnspec.document import Document, Path
from cnnspec.ops.base import Op, Shape
from cnnspec.training import Loss, Optimizer, Schedule


@dataclass(frozen=True, slots=True)
class Layer:
    """One entry of a `layers:` list.

    Attributes:
        key: the op's name in the spec, or `sequence`.
        path: of the entry in the document.
        op: with its fields; None for a sequence, and where the fields are at fault.
        name: as given, None where there is none.
        sources: the names in `from`, None where there is none.
        share: the name of the layer whose parameters it uses.
        expect: the shape that its output is stated to have.
        layers: of a sequence.
    """

    key: str
    path: Path
    op: Op | None
    name: str | None = None
    sources: tuple[str, ...] | None = None
    share: str | None = None
    expect: Shape | None = None
    layers: tuple[Layer, ...] = ()

    @property
    def fields(self) -> Path:
        """The path of its fields, and as a key that of its op."""
        return (*self.path, self.key)


@dataclass(frozen=True, slots=True)
class OutputEntry:
    """An entry of `outputs:`; the path is that of the layer's name."""

    name: str
    layer: str
    path: Path


@dataclass(frozen=True, slots=True)
class TrainSection:
    """`train:` as written; `loss` is one for the only output, or a mapping from outputs."""

    loss: Loss | Mapping[str, Loss]
    optimizer: Optimizer
    schedule: Schedule
    batch: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole file.

    Attributes:
        document: it was read from.
        name: of the network.
        inputs: name and shape of each, in order.
        layers: in order.
        outputs: None where the file names none: then it is the last layer.
        train: None where the file has no such section.
        seed: for initial weights, masks and data order.
    """

    document: Document
    name: str
    inputs: tuple[tuple[str, Shape], ...]
    layers: tuple[Layer, ...]
    outputs: tuple[OutputEntry, ...] | None
    train: TrainSection | None
    seed: int
