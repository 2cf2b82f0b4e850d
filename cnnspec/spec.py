"""The types of a spec as written: its form is checked, names and shapes are not resolved yet.

Where a field depends on parameters of a block it holds a `Template`, and has its value once the
block is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cnnspec.diagnostics import Diagnostic
from cnnspec.document import Document, Path
from cnnspec.ops.base import Op, Shape
from cnnspec.templates import Template

if TYPE_CHECKING:  # imported with the first spec that has such a section
    from cnnspec.data_section import DataSection
    from cnnspec.training import Average, Clip, EarlyStopping, Group, Loss, Optimizer, Schedule

Name = str | Template
"""A name, or a text that gives one for the parameters of a block."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One entry of a `layers:` list.

    Attributes:
        key: the op's name in the spec, that of a block, or `sequence`.
        path: of the entry in the document.
        op: with its fields, where they are constant; None for a sequence, for a block, where
            fields depend on parameters, and where they are at fault.
        name: as given, None where there is none.
        sources: the names in `from`, None where there is none.
        share: the name of the layer whose parameters it uses.
        expect: the shape that its output is stated to have.
        layers: of a sequence.
        given: fields of an op, or arguments of a block, as far as they are not constant.
        when: whether it is there.
        repeat: how often, None where it is not repeated.
        first: fields or arguments of the first instance.
        last: fields or arguments of the last instance.
        block: whether the key is the name of a block.
        treatment: `trainable`, `regularize` and `constrain` as far as they are given.
        reads: the parameters that `given`, `first` and `last` depend on, sorted.
    """

    key: str
    path: Path
    op: Op | None
    name: Name | None = None
    sources: tuple[Name, ...] | None = None
    share: Name | None = None
    expect: Shape | tuple[object, ...] | Template | None = None
    layers: tuple[Layer, ...] = ()
    given: Mapping[str, object] = field(default_factory=dict)
    when: bool | Template = True
    repeat: int | Template | None = None
    first: Mapping[str, object] = field(default_factory=dict)
    last: Mapping[str, object] = field(default_factory=dict)
    block: bool = False
    treatment: Mapping[str, object] = field(default_factory=dict)
    reads: tuple[str, ...] = ()

    @property
    def fields(self) -> Path:
        """The path of its fields, and as a key that of its op."""
        return (*self.path, self.key)

    @property
    def names_instances(self) -> bool:
        """Whether its name is that of each instance, and not of all of them."""
        if self.repeat is None or not isinstance(self.name, Template):
            return False
        return "index" in self.name.names


@dataclass(frozen=True, slots=True)
class OutputEntry:
    """An entry of `outputs:`; the path is that of the layer's name."""

    name: str
    layer: str
    path: Path
    training_only: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a block; the default is `graph.REQUIRED` where it has none."""

    name: str
    default: object


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A block under `define:`.

    Attributes:
        name: of the block, which layers use as their key.
        document: it stands in.
        path: of its fields there, and as a key that of its name.
        parameters: in order.
        inputs: the names of its inputs, in order.
        outputs: None where it names none: then it is the last layer.
        layers: in order.
    """

    name: str
    document: Document
    path: Path
    parameters: tuple[Parameter, ...]
    inputs: tuple[str, ...]
    outputs: tuple[OutputEntry, ...] | None
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainSection:
    """`train:` as written; `loss` is one for the only output, or a mapping from outputs."""

    loss: Loss | Mapping[str, Loss]
    optimizer: Optimizer
    schedule: Schedule
    batch: int
    epochs: int
    accumulate: int = 1
    groups: tuple[Group, ...] = ()
    clip: Clip | None = None
    average: Average | None = None
    stopping: EarlyStopping | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole file, with what it includes.

    Attributes:
        document: it was read from.
        name: of the network.
        inputs: name and shape of each, in order.
        layers: in order.
        outputs: None where the file names none: then it is the last layer.
        train: None where the file has no such section.
        seed: for initial weights, masks and data order.
        blocks: every block by name, those of included files among them.
        warnings: found while reading.
        data: None where the file has no such section.
    """

    document: Document
    name: str
    inputs: tuple[tuple[str, Shape], ...]
    layers: tuple[Layer, ...]
    outputs: tuple[OutputEntry, ...] | None
    train: TrainSection | None
    seed: int
    blocks: Mapping[str, Block] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    data: DataSection | None = None
