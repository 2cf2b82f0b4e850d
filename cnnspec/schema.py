"""The file as written: a Document becomes a Spec, or every fault of its form is reported.

Layers are looked up by op name and then validated by the op class itself, so that an error's
place maps straight to a path in the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from cnnspec import names
from cnnspec.diagnostics import Diagnostic, Label, SpecError, did_you_mean
from cnnspec.document import Document, Path
from cnnspec.ops import lookup, registered
from cnnspec.ops.base import Op, Shape
from cnnspec.training import (
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    Constant,
    Loss,
    Optimizer,
    Schedule,
    Training,
    Vocabulary,
)

VERSION = 1
MOST_SIZE = 2**31 - 1

TOP_LEVEL = ("cnnspec", "name", "input", "layers", "outputs", "train", "seed")
LATER_TOP_LEVEL = ("define", "parameters", "include")
LAYER_FIELDS = ("name", "from", "share", "expect")
LATER_LAYER_FIELDS = (
    "when", "repeat", "first", "last", "trainable", "regularize", "constrain",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layer:
    """One entry of a `layers:` list; `op` is None for a sequence."""

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
        """The path of its fields."""
        return (*self.path, self.key)


@dataclass(frozen=True, slots=True)
class OutputEntry:
    """An entry of `outputs:`."""

    name: str
    layer: str
    path: Path


@dataclass(frozen=True, slots=True)
class TrainSection:
    """`train:` as written; `loss` is one for the only output, or a mapping."""

    loss: Loss | Mapping[str, Loss]
    optimizer: Optimizer
    schedule: Schedule
    batch: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole file, its form checked; names and shapes are not resolved yet."""

    document: Document
    name: str
    inputs: tuple[tuple[str, Shape], ...]
    layers: tuple[Layer, ...]
    outputs: tuple[OutputEntry, ...] | None
    train: TrainSection | None
    seed: int


@dataclass(slots=True)
class Faults:
    """Collects diagnostics of a phase over one document."""

    document: Document
    found: list[Diagnostic] = field(default_factory=list)

    def add(
        self,
        diagnostic: Callable[[Label], Diagnostic],
        path: Path,
        *,
        key: bool = False,
        label: str = "",
    ) -> None:
        """Report at a path: its value, or its key."""
        span = self.document.key_span(path) if key else self.document.span(path)
        self.found.append(diagnostic(Label(span, label)))

    def raise_any(self) -> None:
        """Raise SpecError if there was an error."""
        errors = [d for d in self.found if d.severity == "error"]
        if errors:
            raise SpecError(
                sorted(
                    self.found,
                    key=lambda d: (
                        (d.primary.span.line, d.primary.span.column) if d.primary else (0, 0)
                    ),
                )
            )


def read_spec(document: Document) -> Spec:
    """Check the form of a document.

    Raises:
        SpecError: with every fault of form.
    """
    reader = _Reader(document)
    spec = reader.read()
    reader.faults.raise_any()
    assert spec is not None
    return spec


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.faults = Faults(document)

    def read(self) -> Spec | None:
        value = self.document.value
        if not isinstance(value, dict):
            self.faults.add(
                lambda at: Diagnostic(
                    "not-a-spec",
                    "a spec is a mapping",
                    at,
                    help="it starts with `cnnspec: 1`, and has `input:` and `layers:`",
                ),
                (),
            )
            return None
        self._top_level(value)
        version = value.get("cnnspec")
        if "cnnspec" in value and (isinstance(version, bool) or version != VERSION):
            self.faults.add(
                lambda at: Diagnostic(
                    "unknown-version",
                    f"this version of the spec language is unknown: {version!r}",
                    at,
                    help=f"this cnnspec reads `cnnspec: {VERSION}`",
                ),
                ("cnnspec",),
            )
        name = self._network_name(value.get("name"))
        inputs = self._inputs(value["input"]) if "input" in value else ()
        layers = self._layers(value["layers"], ("layers",)) if "layers" in value else ()
        outputs = self._outputs(value["outputs"]) if "outputs" in value else None
        train = self._train(value["train"]) if "train" in value else None
        seed = self._whole(value.get("seed", 0), ("seed",), 0, 2**63 - 1)
        return Spec(self.document, name, inputs, layers, outputs, train, seed)

    # --- the top level -------------------------------------------------------------------------

    def _top_level(self, value: Mapping[str, object]) -> None:
        for key in value:
            if key in LATER_TOP_LEVEL:
                self.faults.add(
                    lambda at, key=key: Diagnostic(
                        "not-yet", f"`{key}` is part of the language, but not of this version", at
                    ),
                    (key,),
                    key=True,
                )
            elif key not in TOP_LEVEL:
                self.faults.add(
                    lambda at, key=key: Diagnostic(
                        "unknown-key",
                        f"a spec has no `{key}`",
                        at,
                        help=did_you_mean(key, TOP_LEVEL),
                    ),
                    (key,),
                    key=True,
                )
        for key in ("cnnspec", "input", "layers"):
            if key not in value:
                example = {
                    "cnnspec": "cnnspec: 1",
                    "input": "input: [3, 224, 224]",
                    "layers": "layers: [flatten, {dense: {units: 10}}]",
                }[key]
                self.faults.add(
                    lambda at, key=key, example=example: Diagnostic(
                        "missing-key", f"a spec needs `{key}`", at, help=f"such as `{example}`"
                    ),
                    (),
                )

    def _network_name(self, value: object) -> str:
        if value is None:
            return "network"
        if not isinstance(value, str):
            self._wrong_type(("name",), "a name is text")
            return "network"
        self._name(value, ("name",), network=True)
        return value

    def _name(self, value: str, path: Path, *, network: bool = False) -> None:
        fault = names.fault(value)
        if fault is not None and not (network and value in names.RESERVED):
            self.faults.add(
                lambda at: Diagnostic(
                    "bad-name", f"{quoted(value)} cannot be used as a name: {fault}", at
                ),
                path,
            )

    def _whole(self, value: object, path: Path, least: int, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong_type(path, f"`{path[-1]}` is a whole number")
            return least
        if not least <= value <= most:
            self.faults.add(
                lambda at: Diagnostic(
                    "out-of-range", f"`{path[-1]}` is {value}, outside {least} to {most}", at
                ),
                path,
            )
            return least
        return value

    def _wrong_type(self, path: Path, message: str, help: str = "") -> None:
        self.faults.add(lambda at: Diagnostic("wrong-type", message, at, help=help), path)

    def _shape(self, value: object, path: Path) -> Shape | None:
        example = "such as [3, 224, 224]: channels, then space; the batch is implied"
        if not isinstance(value, tuple):
            self._wrong_type(path, "a shape is a list of whole numbers", example)
            return None
        if not 1 <= len(value) <= 4:
            self.faults.add(
                lambda at: Diagnostic(
                    "bad-shape",
                    f"a shape has channels and up to 3 spatial sizes, and this one has {len(value)} "
                    "entries",
                    at,
                    help=example,
                ),
                path,
            )
            return None
        sizes = []
        for i, size in enumerate(value):
            at_size = (*path, i)
            if size is None:
                self.faults.add(
                    lambda at: Diagnostic(
                        "size-not-fixed",
                        "sizes are fixed in version 1 of the spec language",
                        at,
                        help="give a whole number",
                    ),
                    at_size,
                )
            elif isinstance(size, bool) or not isinstance(size, int):
                self._wrong_type(at_size, "a size is a whole number")
            elif not 1 <= size <= MOST_SIZE:
                self.faults.add(
                    lambda at, size=size: Diagnostic(
                        "out-of-range", f"a size is {size}, outside 1 to {MOST_SIZE}", at
                    ),
                    at_size,
                )
            else:
                sizes.append(size)
        return tuple(sizes) if len(sizes) == len(value) else None

    def _inputs(self, value: object) -> tuple[tuple[str, Shape], ...]:
        if not isinstance(value, dict):
            shape = self._shape(value, ("input",))
            return () if shape is None else (("input", shape),)
        found = []
        if not value:
            self._wrong_type(("input",), "a network needs an input")
        for name, entry in value.items():
            fault = names.fault(name)
            if fault is not None and name != "input":
                self.faults.add(
                    lambda at, name=name, fault=fault: Diagnostic(
                        "bad-name", f"{quoted(name)} cannot be used as a name: {fault}", at
                    ),
                    ("input", name),
                    key=True,
                )
            elif name == "input" and len(value) > 1:
                self.faults.add(
                    lambda at: Diagnostic(
                        "bad-name",
                        "`input` cannot be the name of one of several inputs: "
                        "it means a scope's only input",
                        at,
                    ),
                    ("input", name),
                    key=True,
                )
            shape = self._shape(entry, ("input", name))
            if shape is not None:
                found.append((name, shape))
        return tuple(found)

    def _outputs(self, value: object) -> tuple[OutputEntry, ...]:
        if isinstance(value, str):
            return (OutputEntry("output", value, ("outputs",)),)
        if not isinstance(value, dict) or not value:
            self._wrong_type(
                ("outputs",),
                "`outputs` is the name of a layer, or a mapping from output names to layers",
            )
            return ()
        found = []
        for name, entry in value.items():
            path: Path = ("outputs", name)
            self._key_name(name, path)
            if isinstance(entry, dict) and "training_only" in entry:
                self.faults.add(
                    lambda at: Diagnostic(
                        "not-yet",
                        "`training_only` is part of the language, but not of this version",
                        at,
                    ),
                    path,
                )
            elif isinstance(entry, dict) and set(entry) == {"from"}:
                if isinstance(entry["from"], str):
                    found.append(OutputEntry(name, entry["from"], (*path, "from")))
                else:
                    self._wrong_type((*path, "from"), "`from` of an output is the name of a layer")
            elif isinstance(entry, str):
                found.append(OutputEntry(name, entry, path))
            else:
                self._wrong_type(path, "an output is the name of a layer")
        return tuple(found)

    def _key_name(self, name: str, path: Path) -> None:
        fault = names.fault(name)
        if fault is not None and name not in names.RESERVED:
            self.faults.add(
                lambda at: Diagnostic(
                    "bad-name", f"{quoted(name)} cannot be used as a name: {fault}", at
                ),
                path,
                key=True,
            )

    # --- layers --------------------------------------------------------------------------------

    def _layers(self, value: object, path: Path) -> tuple[Layer, ...]:
        if not isinstance(value, tuple):
            self._wrong_type(path, "`layers` is a list", "each entry is an op, over its fields")
            return ()
        if not value:
            self.faults.add(lambda at: Diagnostic("no-layers", "`layers` is empty", at), path)
        layers = (self._layer(entry, (*path, i)) for i, entry in enumerate(value))
        return tuple(layer for layer in layers if layer is not None)

    def _layer(self, entry: object, path: Path) -> Layer | None:
        if isinstance(entry, str):
            key, fields = entry, {}
        elif isinstance(entry, dict) and len(entry) == 1:
            key, given = next(iter(entry.items()))
            if given is None:
                fields = {}
            elif isinstance(given, dict):
                fields = given
            else:
                self._wrong_type(
                    (*path, key),
                    f"the fields of `{shown(key)}` are a mapping",
                    f"such as `{shown(key)}: {{name: first}}`",
                )
                return None
        else:
            self._wrong_type(
                path,
                "a layer is an op over its fields, and this is "
                + ("a mapping with several keys" if isinstance(entry, dict) else "something else"),
                "such as `- conv: {filters: 8, kernel: 3}` or `- relu`",
            )
            return None
        if key != "sequence" and lookup(key) is None:
            every = [*(cls.key for cls in registered()), "sequence"]
            self.faults.add(
                lambda at: Diagnostic(
                    "unknown-op", f"there is no op {quoted(key)}", at, help=did_you_mean(key, every)
                ),
                (*path, key) if isinstance(entry, dict) else path,
                key=True,
            )
            return None
        return self._known_layer(key, fields, path)

    def _known_layer(self, key: str, fields: Mapping[str, Any], path: Path) -> Layer:
        own = dict(fields)
        at: Path = (*path, key)
        for later in LATER_LAYER_FIELDS:
            if later in own:
                del own[later]
                self.faults.add(
                    lambda where, later=later: Diagnostic(
                        "not-yet",
                        f"`{later}` is part of the language, but not of this version",
                        where,
                    ),
                    (*at, later),
                    key=True,
                )
        name = own.pop("name", None)
        if name is not None and not isinstance(name, str):
            self._wrong_type((*at, "name"), "a name is text")
            name = None
        if name is not None:
            self._name(name, (*at, "name"))
        sources = self._from(own.pop("from"), (*at, "from")) if "from" in own else None
        share = own.pop("share", None)
        if share is not None and not isinstance(share, str):
            self._wrong_type((*at, "share"), "`share` is the name of a layer")
            share = None
        expect = self._shape(own.pop("expect"), (*at, "expect")) if "expect" in own else None
        if key == "sequence":
            layers = self._sequence(own, at)
            return Layer(key, path, None, name, sources, share, expect, layers)
        cls = lookup(key)
        assert cls is not None
        op = self.model(cls, own, at, f"`{key}`", [*cls.model_fields, *LAYER_FIELDS])
        return Layer(key, path, op, name, sources, share, expect)

    def _from(self, value: object, path: Path) -> tuple[str, ...] | None:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, tuple) and value and all(isinstance(v, str) for v in value):
            return tuple(str(v) for v in value)
        self._wrong_type(path, "`from` is the name of a layer, or a list of names")
        return None

    def _sequence(self, own: dict[str, Any], at: Path) -> tuple[Layer, ...]:
        layers: tuple[Layer, ...] = ()
        if "layers" in own:
            layers = self._layers(own.pop("layers"), (*at, "layers"))
        else:
            self._missing(at, "`sequence`", "layers")
        for other in own:
            self._unknown_field(at, "`sequence`", other, ["layers", *LAYER_FIELDS])
        return layers

    # --- training ------------------------------------------------------------------------------

    def _train(self, value: object) -> TrainSection | None:
        path: Path = ("train",)
        if not isinstance(value, dict):
            self._wrong_type(path, "`train` is a mapping", "it needs `loss` and `optimizer`")
            return None
        known = ("loss", "optimizer", "schedule", "batch", "epochs")
        for key in value:
            if key not in known:
                self._unknown_field(path, "`train`", key, list(known))
        for key in ("loss", "optimizer"):
            if key not in value:
                self._missing(path, "`train`", key)
        loss = self._losses(value["loss"]) if "loss" in value else None
        optimizer = (
            self.word(OPTIMIZERS, value["optimizer"], (*path, "optimizer"), "optimizer")
            if "optimizer" in value
            else None
        )
        schedule: Vocabulary | None = Constant()
        if "schedule" in value:
            schedule = self.word(SCHEDULES, value["schedule"], (*path, "schedule"), "schedule")
        batch = self._whole(value.get("batch", 32), (*path, "batch"), 1, MOST_SIZE)
        epochs = self._whole(value.get("epochs", 1), (*path, "epochs"), 1, MOST_SIZE)
        if loss is None or optimizer is None or schedule is None:
            return None
        assert isinstance(optimizer, Optimizer)
        assert isinstance(schedule, Schedule)
        return TrainSection(loss, optimizer, schedule, batch, epochs)

    def _losses(self, value: object) -> Loss | Mapping[str, Loss] | None:
        path: Path = ("train", "loss")
        if isinstance(value, dict) and not (len(value) == 1 and next(iter(value)) in LOSSES):
            found: dict[str, Loss] = {}
            for output, entry in value.items():
                loss = self.word(LOSSES, entry, (*path, output), "loss")
                if loss is not None:
                    assert isinstance(loss, Loss)
                    found[output] = loss
            return found if len(found) == len(value) and found else None
        loss = self.word(LOSSES, value, path, "loss")
        assert loss is None or isinstance(loss, Loss)
        return loss

    def word(
        self, vocabulary: Mapping[str, type[Vocabulary]], value: object, path: Path, what: str
    ) -> Vocabulary | None:
        """A word over its fields: `constant`, or `{adam: {lr: 0.001}}`."""
        if isinstance(value, str):
            key, fields, at = value, {}, path
        elif isinstance(value, dict) and len(value) == 1:
            key, given = next(iter(value.items()))
            at = (*path, key)
            if given is not None and not isinstance(given, dict):
                self._wrong_type(at, f"the fields of {quoted(key)} are a mapping")
                return None
            fields = given or {}
        else:
            self._wrong_type(path, f"`{what}` is a word, or a word over its fields")
            return None
        cls = vocabulary.get(key)
        if cls is None:
            self.faults.add(
                lambda where: Diagnostic(
                    f"unknown-{what}",
                    f"there is no {what} {quoted(key)}",
                    where,
                    help=did_you_mean(key, list(vocabulary)),
                ),
                at,
                key=True,
            )
            return None
        made = self.model(cls, fields, at, f"`{key}`", list(cls.model_fields))
        return made

    # --- pydantic ------------------------------------------------------------------------------

    def model(
        self, cls: type[Any], fields: Mapping[str, Any], at: Path, what: str, known: list[str]
    ) -> Any:
        """Validate fields by a model; report its errors at their places and return None."""
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as fault:
            for error in fault.errors(include_url=False, include_input=False):
                self._pydantic(error, at, what, known)
            return None

    def _pydantic(self, error: Any, at: Path, what: str, known: list[str]) -> None:
        place = tuple(error["loc"])
        path: Path = (*at, *place)
        where = ".".join(str(part) for part in place)
        kind, context = error["type"], error.get("ctx", {})
        if kind == "extra_forbidden":
            self._unknown_field((*at, *place[:-1]), what, str(place[-1]), known)
        elif kind == "missing":
            self._missing((*at, *place[:-1]), what, str(place[-1]))
        else:
            code = "out-of-range" if kind in _RANGE else "bad-value"
            if kind.endswith("_type") or kind in ("int_from_float", "per_axis"):
                code = "wrong-type"
            message = f"`{where}` of {what}: {_reword(kind, context, error['msg'])}"
            self.faults.add(
                lambda label: Diagnostic(code, message, label, help=context.get("help", "")), path
            )

    def _unknown_field(self, at: Path, what: str, field: str, known: list[str]) -> None:
        self.faults.add(
            lambda label: Diagnostic(
                "unknown-field",
                f"{what} has no field {quoted(field)}",
                label,
                help=did_you_mean(field, known),
            ),
            (*at, field),
            key=True,
        )

    def _missing(self, at: Path, what: str, field: str) -> None:
        self.faults.add(
            lambda label: Diagnostic("missing-field", f"{what} needs `{field}`", label),
            at,
            key=True,
        )


_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "range")


def _reword(kind: str, context: Mapping[str, Any], message: str) -> str:
    match kind:
        case "int_type" | "int_from_float":
            return "expected a whole number"
        case "float_type":
            return "expected a number"
        case "bool_type":
            return "expected true or false"
        case "string_type":
            return "expected text"
        case "tuple_type":
            return "expected a list"
        case "finite_number":
            return "expected a finite number"
        case "greater_than":
            return f"has to be above {context['gt']}"
        case "greater_than_equal":
            return f"has to be at least {context['ge']}"
        case "less_than":
            return f"has to be below {context['lt']}"
        case "less_than_equal":
            return f"has to be at most {context['le']}"
        case "literal_error":
            return f"expected {context['expected']}"
        case "too_long" | "too_short":
            return "has the wrong number of entries"
        case _:
            return message[:1].lower() + message[1:]


def shown(text: str, most: int = 40) -> str:
    """Text from a spec, cut to a length that fits into a message."""
    return text if len(text) <= most else text[: most - 3] + "..."


def quoted(text: str) -> str:
    """Text from a spec in backticks, or as a literal where it is not plain."""
    plain = text.isascii() and text.isprintable() and "`" not in text and text
    return f"`{shown(text)}`" if plain else ascii(shown(text))


def training_of(section: TrainSection, losses: Mapping[str, Loss]) -> Training:
    """The section with one loss for each output."""
    return Training(losses, section.optimizer, section.schedule, section.batch, section.epochs)


__all__ = ["Faults", "Layer", "OutputEntry", "Spec", "TrainSection", "read_spec"]
