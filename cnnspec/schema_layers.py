"""Entries of `layers:`: an op or a block over its fields.

The op is looked up by its name, and then its class checks the fields, so that the place of an
error in a model is a path in the document. Fields that depend on parameters of a block are kept
as they are; their class checks them when the block is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnspec import graph, plugins
from cnnspec.diagnostics import Label, did_you_mean
from cnnspec.document import Path
from cnnspec.faults import Faults, quoted, shown
from cnnspec.graph import REQUIRED
from cnnspec.ops import registered
from cnnspec.ops.base import Op, Shape
from cnnspec.schema_fields import (
    missing_field,
    read_model,
    read_name,
    read_shape,
    read_value,
    unknown_field,
    wrong_type,
)
from cnnspec.spec import Block, Layer, Name
from cnnspec.templates import FAULT, Known, Template, names_in, resolve
from cnnspec.treatment import read_treatment

SEQUENCE = "sequence"
TREATMENT = ("trainable", "regularize", "constrain")
LAYER_FIELDS = ("name", "from", "when", "repeat", "first", "last", "share", "expect", *TREATMENT)


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Reads the layers of one scope.

    Attributes:
        faults: where to report.
        blocks: by name; their own layers need not be read yet.
        known: the parameters that expressions may read here.
    """

    faults: Faults
    blocks: Mapping[str, Block]
    known: Known

    def layers(self, value: object, path: Path) -> tuple[Layer, ...]:
        """The entries of a list, without those at fault."""
        faults = self.faults
        if not isinstance(value, tuple):
            wrong_type(faults, path, "`layers` is a list", "each entry is an op, over its fields")
            return ()
        if not value:
            faults.add("no-layers", path, "`layers` is empty", key=True)
        if len(value) > graph.MOST_NODES:
            faults.add(
                "too-many-layers",
                path,
                f"`layers` has {len(value):,} entries, "
                f"above the limit of {graph.MOST_NODES:,} layers",
                key=True,
            )
            return ()
        found = (self._layer(entry, (*path, i)) for i, entry in enumerate(value))
        return tuple(layer for layer in found if layer is not None)

    def _layer(self, entry: object, path: Path) -> Layer | None:
        faults = self.faults
        fields: dict[str, Any] = {}
        if isinstance(entry, str):
            key = entry
        elif isinstance(entry, dict) and len(entry) == 1:
            key, given = next(iter(entry.items()))
            if given is not None and not isinstance(given, dict):
                wrong_type(
                    faults,
                    (*path, key),
                    f"the fields of {quoted(key)} are a mapping",
                    f"such as `{shown(key)}: {{name: first}}`" if key.isidentifier() else "",
                )
                return None
            fields = dict(given or {})
        else:
            several = isinstance(entry, dict) and len(entry) > 1
            wrong_type(
                faults,
                path,
                "a layer is an op over its fields, and this is "
                + ("a mapping with several keys" if several else "something else"),
                "such as `- conv: {filters: 8, kernel: 3}` or `- relu`",
            )
            return None
        block = self.blocks.get(key)
        cls = None
        if block is None and key != SEQUENCE:
            cls = plugins.op(key, Label(faults.document.key_span((*path, key))))
        if cls is None and block is None and key != SEQUENCE:
            every = [*(known.key for known in registered()), SEQUENCE, *self.blocks]
            every += plugins.names(plugins.OPS)
            faults.add(
                "unknown-op",
                (*path, key),
                f"there is no op {quoted(key)}",
                help=did_you_mean(key, every),
                key=True,
            )
            return None
        return self._known_layer(key, cls or block, fields, path)

    def _known_layer(
        self, key: str, kind: type[Op] | Block | None, fields: dict[str, Any], path: Path
    ) -> Layer:
        at: Path = (*path, key)
        common = {word: fields.pop(word) for word in LAYER_FIELDS if word in fields}
        inside = self.known.with_index() if "repeat" in common else self.known
        layer: dict[str, Any] = self._common(common, at, kind, inside)
        if kind is None:
            layers = Reader(self.faults, self.blocks, inside)._sequence(fields, at)
            return Layer(key, path, None, layers=layers, **layer)
        given = self._given(fields, at, inside)
        if isinstance(kind, Block):
            self._arguments(kind, given, at)
        else:
            self._own_fields(kind, given, at, required=True)
        first, last = (
            self._override(common[word], (*at, word), kind, inside) if word in common else {}
            for word in ("first", "last")
        )
        reads = tuple(sorted(names_in((given, first, last))))
        op = None
        if not isinstance(kind, Block):
            if not any(names_in(value) for value in given.values()):
                op = self._op(kind, given, at)
            if op is not None and not (first or last):
                given = {}  # they are in the op
        block = isinstance(kind, Block)
        return Layer(
            key, path, op, given=given, first=first, last=last, block=block, reads=reads, **layer
        )

    # --- fields of every layer -----------------------------------------------------------------

    def _common(
        self, given: Mapping[str, object], at: Path, kind: type[Op] | Block | None, inside: Known
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "name" in given:
            found["name"] = self._name(given["name"], (*at, "name"), inside)
        if "from" in given:
            found["sources"] = self._sources(given["from"], (*at, "from"))
        if "share" in given:
            found["share"] = self._share(given["share"], (*at, "share"))
        if "expect" in given:
            found["expect"] = self._expect(given["expect"], (*at, "expect"))
        if "when" in given:
            found["when"] = self._when(given["when"], (*at, "when"))
            if _several_outputs(kind):
                cannot_leave_out(self.faults, at)
        if "repeat" in given:
            found["repeat"] = self._repeat(given["repeat"], at, kind)
        found["treatment"] = self._treatment(given, at, inside)
        for word in ("first", "last"):
            if word in given and "repeat" not in given:
                self.faults.add(
                    "first-without-repeat",
                    (*at, word),
                    f"`{word}` changes the {word} instance of a repeated layer, "
                    "and this one has no `repeat`",
                    help="give `repeat:`, or write the fields themselves",
                    key=True,
                )
        return found

    def _name(self, value: object, path: Path, inside: Known) -> Name | None:
        found = resolve(self.faults, value, path, inside)
        if isinstance(found, Template):
            return found
        return None if found is FAULT else read_name(self.faults, found, path)

    def _sources(self, value: object, path: Path) -> tuple[Name, ...] | None:
        found = resolve(self.faults, value, path, self.known)
        if found is FAULT:
            return None
        if isinstance(found, str | Template):
            return (found,)
        if isinstance(found, tuple):
            names = tuple(name for name in found if isinstance(name, str | Template))
            if names and len(names) == len(found):
                return names
        wrong_type(self.faults, path, "`from` is the name of a layer, or a list of names")
        return None

    def _share(self, value: object, path: Path) -> Name | None:
        found = resolve(self.faults, value, path, self.known)
        if isinstance(found, str | Template):
            return found
        if found is not FAULT:
            wrong_type(self.faults, path, "`share` is the name of a layer")
        return None

    def _expect(self, value: object, path: Path) -> Shape | tuple[object, ...] | Template | None:
        found = resolve(self.faults, value, path, self.known)
        if found is FAULT:
            return None
        if isinstance(found, Template) or (isinstance(found, tuple) and names_in(found)):
            return found
        return read_shape(self.faults, found, path)

    def _when(self, value: object, path: Path) -> bool | Template:
        found = resolve(self.faults, value, path, self.known)
        if not isinstance(found, bool | Template):
            if found is not FAULT:
                wrong_type(self.faults, path, "`when` is true or false")
            return True
        return found

    def _treatment(self, given: Mapping[str, object], at: Path, inside: Known) -> dict[str, object]:
        words = [word for word in TREATMENT if word in given]
        if words and "share" in given:
            self.faults.add(
                "cannot-share",
                (*at, words[0]),
                f"`{words[0]}` is for the layer whose parameters this one uses",
                key=True,
            )
            return {}
        values = {w: resolve(self.faults, given[w], (*at, w), inside) for w in words}
        return read_treatment(self.faults, values, at) or {}

    def _repeat(
        self, value: object, at: Path, kind: type[Op] | Block | None
    ) -> int | Template | None:
        path: Path = (*at, "repeat")
        if _several(kind):
            cannot_repeat(self.faults, at)
        found = resolve(self.faults, value, path, self.known)
        if found is FAULT:
            return None
        return found if isinstance(found, Template) else read_repeat(self.faults, found, path)

    # --- fields of ops, arguments of blocks ----------------------------------------------------

    def _given(self, fields: Mapping[str, object], at: Path, inside: Known) -> dict[str, object]:
        return {
            name: resolve(self.faults, value, (*at, name), inside) for name, value in fields.items()
        }

    def _override(
        self, value: object, path: Path, kind: type[Op] | Block, inside: Known
    ) -> dict[str, object]:
        if not isinstance(value, dict):
            wrong_type(self.faults, path, f"`{path[-1]}` is a mapping of fields")
            return {}
        for word in LAYER_FIELDS:
            if word in value:
                self.faults.add(
                    "unknown-field",
                    (*path, word),
                    f"`{path[-1]}` cannot change `{word}`, which all instances have in common",
                    help="it changes a block's parameters, or an op's own fields",
                    key=True,
                )
        own = {name: each for name, each in value.items() if name not in LAYER_FIELDS}
        given = self._given(own, path, inside)
        if isinstance(kind, Block):
            self._arguments(kind, given, path, required=False)
        else:
            self._own_fields(kind, given, path, required=False)
        return given

    def _arguments(
        self, block: Block, given: Mapping[str, object], at: Path, *, required: bool = True
    ) -> None:
        names = [parameter.name for parameter in block.parameters]
        for name, value in given.items():
            if name not in names:
                self.faults.add(
                    "unknown-argument",
                    (*at, name),
                    f"block `{block.name}` has no parameter {quoted(name)}",
                    help=did_you_mean(name, names),
                    key=True,
                )
            elif value is not FAULT:
                read_value(self.faults, value, (*at, name))
        for parameter in block.parameters:
            if required and parameter.default is REQUIRED and parameter.name not in given:
                self.faults.add(
                    "missing-argument",
                    at,
                    f"block `{block.name}` needs `{parameter.name}`",
                    key=True,
                )

    def _own_fields(
        self, cls: type[Op], given: Mapping[str, object], at: Path, *, required: bool
    ) -> None:
        """Report unknown and missing fields where the class is not asked itself before use."""
        if required and not any(names_in(value) for value in given.values()):
            return
        for name in given:
            if name not in cls.model_fields:
                known = _known_fields(cls)
                unknown_field(self.faults, at, f"`{cls.key}`", name, known)
        for name, info in cls.model_fields.items():
            if required and info.is_required() and name not in given:
                missing_field(self.faults, at, f"`{cls.key}`", name)

    def _op(self, cls: type[Op], given: Mapping[str, object], at: Path) -> Op | None:
        if any(value is FAULT for value in given.values()):
            return None
        return read_model(
            self.faults, cls, given, at, what=f"`{cls.key}`", known=_known_fields(cls)
        )

    def _sequence(self, fields: Mapping[str, object], at: Path) -> tuple[Layer, ...]:
        for other in fields:
            if other != "layers":
                known = ["layers", *LAYER_FIELDS]
                unknown_field(self.faults, at, "`sequence`", other, known)
        if "layers" not in fields:
            missing_field(self.faults, at, "`sequence`", "layers")
            return ()
        return self.layers(fields["layers"], (*at, "layers"))


def cannot_repeat(faults: Faults, at: Path) -> None:
    """Report `repeat` on a layer that cannot read the instance before."""
    faults.add(
        "cannot-repeat",
        (*at, "repeat"),
        "a layer with several inputs or outputs cannot be repeated",
        help="each instance reads the one before, so it has one input and one output",
        key=True,
    )


def cannot_leave_out(faults: Faults, at: Path) -> None:
    """Report `when` on a layer whose name could not stand for its first input."""
    faults.add(
        "cannot-leave-out",
        (*at, "when"),
        "a layer with several outputs cannot be left out",
        help="the name of a layer that is left out stands for its first input, "
        "and there would be nothing for its other outputs",
        key=True,
    )


def _several(kind: type[Op] | Block | None) -> bool:
    """Whether a layer has several inputs or outputs, whatever it is given."""
    if isinstance(kind, Block):
        return len(kind.inputs) > 1 or _several_outputs(kind)
    return kind is not None and kind.arity[0] > 1


def _several_outputs(kind: type[Op] | Block | None) -> bool:
    return isinstance(kind, Block) and kind.outputs is not None and len(kind.outputs) > 1


def read_repeat(faults: Faults, value: object, path: Path) -> int | None:
    """A number of instances."""
    if isinstance(value, bool) or not isinstance(value, int):
        wrong_type(faults, path, "`repeat` is a whole number")
        return None
    if value < 0:
        faults.add("out-of-range", path, f"`repeat` is {value}, and 0 is the least")
        return None
    return value


def _known_fields(cls: type[Op]) -> Sequence[str]:
    return [*cls.model_fields, *LAYER_FIELDS]


__all__ = [
    "LAYER_FIELDS",
    "SEQUENCE",
    "Reader",
    "cannot_leave_out",
    "cannot_repeat",
    "read_repeat",
]
