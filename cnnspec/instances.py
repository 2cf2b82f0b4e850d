"""Layers for given parameters: what their expressions come to, and how many layers that makes.

Everything is counted before anything is built: a few lines can stand for more layers than any
machine holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cnnspec import graph as limits
from cnnspec.diagnostics import Span
from cnnspec.document import Path
from cnnspec.faults import Faults
from cnnspec.graph import Argument
from cnnspec.ops import lookup
from cnnspec.ops.base import Op
from cnnspec.schema_fields import read_model, read_value, wrong_type
from cnnspec.schema_layers import LAYER_FIELDS, read_repeat
from cnnspec.spec import Block, Layer
from cnnspec.templates import FAULT, Template, evaluate, python_text, templates

Values = Mapping[str, object]
Which = tuple[str, ...]
"""The overrides that an instance has: `first`, `last`, both in this order, or none."""


@dataclass(frozen=True, slots=True, eq=False)
class Count:
    """Nodes, and steps that building them takes; more than the limit is all that is said."""

    nodes: int = 0
    steps: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.nodes + other.nodes, self.steps + other.steps)

    def times(self, number: int) -> Count:
        """So often."""
        return Count(self.nodes * number, self.steps * number)

    @property
    def too_large(self) -> bool:
        """Whether nothing of this size is built."""
        return self.nodes > limits.MOST_NODES or self.steps > 4 * limits.MOST_NODES


@dataclass(slots=True, eq=False)
class Instances:
    """Evaluates the fields of layers, each layer once for the same values.

    Attributes:
        blocks: every block by name.
    """

    blocks: Mapping[str, Block]
    _ops: dict[tuple[int, Which, str], Op | None] = field(default_factory=dict)
    _arguments: dict[tuple[int, Which, str], tuple[Argument, ...] | None] = field(
        default_factory=dict
    )
    _texts: dict[tuple[int, Which], Mapping[str, str]] = field(default_factory=dict)
    _counts: dict[tuple[str, str], Count] = field(default_factory=dict)

    # --- fields of every layer -----------------------------------------------------------------

    def present(self, faults: Faults, layer: Layer, values: Values) -> bool:
        """Whether `when` leaves the layer in; true where its fault is reported."""
        if isinstance(layer.when, bool):
            return layer.when
        found = evaluate(faults, layer.when, values)
        if isinstance(found, bool):
            return found
        if found is not FAULT:
            wrong_type(faults, (*layer.fields, "when"), "`when` is true or false")
        return True

    def number(self, faults: Faults, layer: Layer, values: Values) -> int | None:
        """How often a layer is repeated; None where it is not, or its fault is reported."""
        if not isinstance(layer.repeat, Template):
            return layer.repeat
        found = evaluate(faults, layer.repeat, values)
        if found is FAULT:
            return None
        return read_repeat(faults, found, (*layer.fields, "repeat"))

    # --- fields of ops, arguments of blocks ----------------------------------------------------

    def op(self, faults: Faults, layer: Layer, values: Values, which: Which = ()) -> Op | None:
        """The op of a layer with its fields; None with a fault that is reported."""
        if layer.op is not None and not which:
            return layer.op
        key = (id(layer), which, _exact(layer, values))
        if key not in self._ops:
            cls = lookup(layer.key)
            given = self._given(faults, layer, values, which)
            assert cls is not None, "the reader has found its class"
            self._ops[key] = (
                None
                if given is None
                else read_model(
                    faults,
                    cls,
                    given,
                    layer.fields,
                    what=f"`{layer.key}`",
                    known=[*cls.model_fields, *LAYER_FIELDS],
                    places=places(layer, which),
                )
            )
        return self._ops[key]

    def arguments(
        self, faults: Faults, layer: Layer, values: Values, which: Which = ()
    ) -> tuple[Argument, ...] | None:
        """The arguments of a block, every parameter in order; None with a fault."""
        key = (id(layer), which, _exact(layer, values))
        if key not in self._arguments:
            self._arguments[key] = self._bound(faults, layer, values, which)
        return self._arguments[key]

    def _bound(
        self, faults: Faults, layer: Layer, values: Values, which: Which
    ) -> tuple[Argument, ...] | None:
        given = self._given(faults, layer, values, which)
        if given is None:
            return None
        texts, where = self.texts(layer, which), places(layer, which)
        found = []
        for parameter in self.blocks[layer.key].parameters:
            name, value = parameter.name, parameter.default
            if name in given:
                path = where.get(name, (*layer.fields, name))
                value = read_value(faults, given[name], path)
                if value is FAULT:
                    return None
            found.append(Argument(name, value, texts.get(name), parameter.default))
        return tuple(found)

    def texts(self, layer: Layer, which: Which = ()) -> Mapping[str, str]:
        """The fields that are expressions, in Python; those inside a word are `field.inner`."""
        key = (id(layer), which)
        if key not in self._texts:
            found = {}
            for name, value in merged(layer, which).items():
                for inner, entry in _spelled(name, value):
                    text = python_text(entry)
                    if text is not None:
                        found[inner] = text
            self._texts[key] = found
        return self._texts[key]

    def _given(
        self, faults: Faults, layer: Layer, values: Values, which: Which
    ) -> dict[str, object] | None:
        found = {
            name: evaluate(faults, value, values) for name, value in merged(layer, which).items()
        }
        return None if any(value is FAULT for value in found.values()) else found

    # --- counting ------------------------------------------------------------------------------

    def count(self, faults: Faults, layers: Sequence[Layer], values: Values) -> Count:
        """How many nodes these layers become, and steps; it ends early above the limit."""
        total = Count()
        for layer in layers:
            total += Count(steps=1)
            if self.present(faults, layer, values):
                total += self._layer(faults, layer, values)
            if total.too_large:
                break
        return total

    def _layer(self, faults: Faults, layer: Layer, values: Values) -> Count:
        if layer.repeat is None:
            return self._one(faults, layer, values, ())
        number = self.number(faults, layer, values)
        if not number:
            return Count()
        if number > limits.MOST_NODES:
            return Count(number, number)
        if "index" not in _depends(layer):
            plain = {**values, "index": 0, "count": number}
            ends = [i for i in sorted({0, number - 1}) if overrides(layer, i, number)]
            total = Count()
            if number > len(ends):
                total += self._one(faults, layer, plain, ()).times(number - len(ends))
            for i in ends:
                total += self._one(faults, layer, plain, overrides(layer, i, number))
            return total
        total = Count()
        for i in range(number):
            each = {**values, "index": i, "count": number}
            total += self._one(faults, layer, each, overrides(layer, i, number))
            if total.too_large:
                break
        return total

    def _one(self, faults: Faults, layer: Layer, values: Values, which: Which) -> Count:
        if layer.layers:
            return Count(steps=1) + self.count(faults, layer.layers, values)
        if not layer.block:
            return Count(1, 1)
        arguments = self.arguments(faults, layer, values, which)
        if arguments is None:
            return Count(steps=1)
        block = self.blocks[layer.key]
        key = (layer.key, repr([argument.value for argument in arguments]))
        if key not in self._counts:
            inner = faults.of(block.document, (used_at(faults, layer), *faults.expanded))
            bound = {argument.name: argument.value for argument in arguments}
            self._counts[key] = Count(steps=1) + self.count(inner, block.layers, bound)
        return self._counts[key]


def overrides(layer: Layer, index: int, number: int) -> Which:
    """Which of `first` and `last` an instance has."""
    first = ("first",) if index == 0 and layer.first else ()
    return (*first, "last") if index == number - 1 and layer.last else first


def merged(layer: Layer, which: Which) -> Mapping[str, object]:
    """The fields of an instance: `last` over `first` over those of the layer."""
    if not which:
        return layer.given
    found = dict(layer.given)
    for word in which:
        found.update(layer.first if word == "first" else layer.last)
    return found


def places(layer: Layer, which: Which) -> dict[str, Path]:
    """The paths of fields that an instance has from `first` or `last`."""
    found: dict[str, Path] = {}
    for word in which:
        for name in layer.first if word == "first" else layer.last:
            found[name] = (*layer.fields, word, name)
    return found


def used_at(faults: Faults, layer: Layer) -> Span:
    """Where a layer uses a block: its key."""
    document = faults.document
    return document.key_spans.get(layer.fields) or document.span(layer.fields)


def _exact(layer: Layer, values: Values) -> str:
    """The values that a layer depends on; unlike the values themselves, 1, 1.0 and true differ."""
    return repr([values[name] for name in layer.reads]) if layer.reads else ""


def _depends(layer: Layer) -> frozenset[str]:
    """The parameters that an instance of a layer depends on, the layers of a sequence too."""
    found = set(layer.reads)
    for inner in layer.layers:
        found |= _depends(inner)
        for value in (inner.when, inner.repeat):
            if isinstance(value, Template):
                found |= value.names
    return frozenset(found)


def _spelled(name: str, value: object) -> list[tuple[str, object]]:
    """A field, or the fields inside a word such as `{normal: {std: $s}}`, by dotted name."""
    if not isinstance(value, dict) or next(templates(value), None) is None:
        return [(name, value)]
    return [
        entry
        for fields in value.values()
        if isinstance(fields, dict)
        for inner, part in fields.items()
        for entry in _spelled(f"{name}.{inner}", part)
    ]
