"""The spec language as JSON Schema (draft 2020-12), so that editors complete and check specs.

It is derived from the op classes and vocabularies and knows form only: names that exist, fields,
types and ranges. Wires, shapes and the parameters of blocks are what `cnnspec validate` checks: a
layer whose key is no op is taken for one of the file's blocks, with any fields. Every field may
also be an expression, which is a text that starts with `$`.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel

from cnnspec import names
from cnnspec.augmentation import AUGMENTATIONS, FILLS, Normalize
from cnnspec.data_section import INTERPOLATIONS, SOURCES, Halves, Subset
from cnnspec.ops import Op, registered
from cnnspec.ops.initializer import INITIALIZERS, Initializer, holds_initializer
from cnnspec.schema import LIBRARY_LEVEL, MOST_SEED, VERSION
from cnnspec.schema_fields import MOST_SIZE
from cnnspec.schema_layers import SEQUENCE
from cnnspec.training import (
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    Average,
    Clip,
    Constrain,
    EarlyStopping,
    Fields,
    Group,
    Regularize,
)

Schema = dict[str, Any]

ENDS = ("first", "last")


def json_schema(ops: Iterable[type[Op]] | None = None) -> Schema:
    """The schema as plain values for `json.dumps`.

    Args:
        ops: those that it knows; None for all that are registered, of plug-ins as well.
    """
    known = tuple(registered() if ops is None else ops)
    name = {"$ref": "#/$defs/name"}
    train: Schema = {
        "loss": {
            "anyOf": [
                {"$ref": "#/$defs/loss"},
                {
                    "type": "object",
                    "propertyNames": name,
                    "minProperties": 1,
                    "additionalProperties": {"$ref": "#/$defs/loss"},
                },
            ],
        },
        "optimizer": {"$ref": "#/$defs/optimizer"},
        "schedule": {"$ref": "#/$defs/schedule", "default": "constant"},
        "batch": _open({"type": "integer", "minimum": 1, "maximum": MOST_SIZE, "default": 32}),
        "epochs": _open({"type": "integer", "minimum": 1, "maximum": MOST_SIZE, "default": 1}),
        "accumulate": _open({"type": "integer", "minimum": 1, "maximum": MOST_SIZE, "default": 1}),
        "groups": {"type": "array", "items": _mapping(Group)},
        "clip": _mapping(Clip),
        "average": _mapping(Average),
        "early_stopping": _mapping(EarlyStopping),
    }
    top: Schema = {
        "cnnspec": {"const": VERSION, "description": "version of the spec language"},
        "name": _open({**name, "default": "network"}),
        "include": {
            "description": "files whose blocks and parameters are used, inside this directory",
            "type": "array",
            "items": {"type": "string", "minLength": 1},
        },
        "parameters": {
            **_parameters(),
            "description": "values that `-p name=value` replaces, and that `$name` stands for",
        },
        "define": {
            "description": "blocks, each of which is used as a layer",
            "type": "object",
            "propertyNames": name,
            "additionalProperties": {"$ref": "#/$defs/block"},
        },
        "input": {
            "description": "the shape without the batch, or a mapping from names to shapes",
            "anyOf": [
                {"$ref": "#/$defs/shape"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"$ref": "#/$defs/shape"},
                },
            ],
        },
        "layers": {"$ref": "#/$defs/layers"},
        "outputs": {
            "description": "the layer that is the output, or a mapping from names to layers",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "propertyNames": name,
                    "minProperties": 1,
                    "additionalProperties": {
                        "anyOf": [
                            {"type": "string"},
                            _closed(
                                {
                                    "from": {"type": "string"},
                                    "training_only": _open({"type": "boolean", "default": False}),
                                },
                                ["from"],
                            ),
                        ]
                    },
                },
            ],
        },
        "train": _closed(train, ["loss", "optimizer"]),
        "data": _data(),
        "seed": _open({"type": "integer", "minimum": 0, "maximum": MOST_SEED, "default": 0}),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cnnspec {VERSION}",
        **_closed(top, ["cnnspec"]),
        "anyOf": [
            {"required": ["input", "layers"]},
            {"description": "a library of blocks", "propertyNames": {"enum": [*LIBRARY_LEVEL]}},
        ],
        "$defs": _definitions(known),
    }


def _definitions(ops: Sequence[type[Op]]) -> Schema:
    forbidden = sorted({*keyword.kwlist, *names.MEANT})
    layers: Schema = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/layer"}}
    return {
        "name": {
            "type": "string",
            "pattern": f"^{names.PATTERN.pattern}$",
            "not": {"enum": forbidden},
        },
        "layer_name": {
            "allOf": [{"$ref": "#/$defs/name"}, {"not": {"enum": sorted(names.RESERVED)}}]
        },
        "shape": _open(
            {
                "description": "channels (or features), then up to three spatial sizes",
                "type": "array",
                "items": {"type": "integer", "minimum": 1, "maximum": MOST_SIZE},
                "minItems": 1,
                "maxItems": 4,
            }
        ),
        "expression": {
            "description": "a parameter, `$name`, or an expression, `$(2 * name)`",
            "type": "string",
            "pattern": r"^\$",
        },
        "value": {
            "description": "a number, true or false, a text, or a list of these",
            "type": ["integer", "number", "boolean", "string", "array"],
            "items": {"type": ["integer", "number", "boolean", "string"]},
        },
        "layers": layers,
        "layer": _layer(ops),
        "block": _block(),
        "initializer": _words(INITIALIZERS.values()),
        "loss": _open(_words(LOSSES.values())),
        "optimizer": _open(_words(OPTIMIZERS.values())),
        "schedule": _open(_words(SCHEDULES.values())),
        "source": _open(_words(SOURCES.values())),
        "augmentation": _open(_words(AUGMENTATIONS.values())),
        "fill": _open(_words(FILLS.values())),
        **_every_layer(),
        **_overrides(ops),
    }


def _data() -> Schema:
    """The `data:` section."""
    halves, subset, numbers = (_fields(cls, {})[1] for cls in (Halves, Subset, Normalize))
    classes: Schema = {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1}
    steps: Schema = {"type": "array", "items": {"$ref": "#/$defs/augmentation"}, "maxItems": 100}
    fields: Schema = {
        "source": {"$ref": "#/$defs/source"},
        "split": {**halves, "type": "object"},
        "subset": {
            "anyOf": [_open({"type": "integer", "minimum": 1}), {**subset, "type": "object"}]
        },
        "classes": _open(
            {**classes, "description": "those that are kept, in the order of their new labels"}
        ),
        "rescale": _open(
            {
                "type": "number",
                "description": "the factor of stored values; by default bytes are divided by 255",
            }
        ),
        "normalize": {
            "anyOf": [_open({"enum": ["per_channel", "none"]}), {**numbers, "type": "object"}],
            "default": "none",
        },
        "augment": steps,
        "fill": {"$ref": "#/$defs/fill", "default": "constant"},
        "interpolation": _open({"enum": [*INTERPOLATIONS], "default": "linear"}),
    }
    return {**_closed(fields, ["source"]), "description": "what the network is trained on"}


def _parameters() -> Schema:
    return {
        "type": "object",
        "propertyNames": {"$ref": "#/$defs/name"},
        "additionalProperties": {"$ref": "#/$defs/value"},
    }


def _block() -> Schema:
    name = {"$ref": "#/$defs/name"}
    inputs: Schema = {
        "type": "array",
        "items": {"anyOf": [name, {"const": "input"}]},
        "minItems": 1,
        "uniqueItems": True,
        "default": ["input"],
    }
    outputs: Schema = {
        "description": "the layer that is the output, or a mapping from names to layers; "
        "the first is the block's value; default: the last layer",
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "propertyNames": name,
                "minProperties": 1,
                "additionalProperties": {"type": "string"},
            },
        ],
    }
    parameters = {**_parameters(), "description": "name and default, or `required`, of each"}
    fields = {
        "parameters": parameters,
        "inputs": inputs,
        "outputs": outputs,
        "layers": {"$ref": "#/$defs/layers"},
    }
    return _closed(fields, ["layers"])


def _every_layer() -> Schema:
    """The fields that every layer has, as definitions."""
    fields: Schema = {
        "name": {
            "anyOf": [
                {"$ref": "#/$defs/layer_name"},
                {"type": "string", "pattern": r"\$"},
            ],
        },
        "from": {
            "description": "the layers or inputs that it reads; default: the layer above",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        },
        "when": _open(
            {
                "type": "boolean",
                "default": True,
                "description": "whether it is there; if not, its name stands for its first input",
            }
        ),
        "repeat": _open(
            {
                "type": "integer",
                "minimum": 0,
                "description": "how many of it, one after the other; `index` is the number of one "
                "from 0, `count` is this number",
            }
        ),
        "share": {"type": "string", "description": "the layer above whose parameters it uses"},
        "expect": {"$ref": "#/$defs/shape", "description": "the shape that its output has"},
        "trainable": _open(
            {
                "type": "boolean",
                "default": True,
                "description": "whether training changes its parameters",
            }
        ),
        "regularize": _open(_mapping(Regularize)),
        "constrain": _open(_mapping(Constrain)),
    }
    return {f"layer.{name}": schema for name, schema in fields.items()}


def _layer(ops: Sequence[type[Op]]) -> Schema:
    every: Schema = {
        key.removeprefix("layer."): {"$ref": f"#/$defs/{key}"} for key in _every_layer()
    }
    sequence = _closed({"layers": {"$ref": "#/$defs/layers"}, **every}, ["layers"])
    sequence["description"] = "Layers one after the other, as one layer."
    words = {SEQUENCE: sequence}
    for cls in ops:
        key, schema = _fields(cls, every)
        fields: Schema = {"$ref": f"#/$defs/override.{key}"}
        schema["properties"] |= {word: _override(word, fields) for word in ENDS}
        words[key] = schema
    found = _over(words)
    # What is no op is a block; this is the one open place.
    no_op = f"^(?!(?:{'|'.join(sorted(words))})$){names.PATTERN.pattern}$"
    given: Schema = {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}}
    block: Schema = {
        "description": "One of the file's blocks, over its parameters.",
        "type": ["object", "null"],
        "properties": {**every, **{word: _override(word, given) for word in ENDS}},
        "additionalProperties": {"$ref": "#/$defs/value"},
    }
    bare, over = found["anyOf"]
    over["patternProperties"] = {no_op: block}
    return {"anyOf": [bare, {"type": "string", "pattern": no_op}, over]}


def _overrides(ops: Sequence[type[Op]]) -> Schema:
    """The fields of each op, none of them required, as definitions."""
    every = (_fields(cls, {}) for cls in ops)
    return {f"override.{key}": _closed(schema["properties"], []) for key, schema in every}


def _override(word: str, fields: Schema) -> Schema:
    return {**fields, "description": f"fields of the {word} of several instances"}


def _open(schema: Schema) -> Schema:
    """A schema that admits an expression too, in its lists as well."""
    about: Schema = {key: schema[key] for key in ("default", "description") if key in schema}
    plain = {key: value for key, value in schema.items() if key not in about}
    kinds = plain["anyOf"] if set(plain) == {"anyOf"} else [plain]
    return {"anyOf": [*map(_open_list, kinds), {"$ref": "#/$defs/expression"}], **about}


def _open_list(schema: Schema) -> Schema:
    if schema.get("type") != "array":
        return schema
    found = dict(schema)
    if isinstance(found.get("items"), dict):
        found["items"] = _open(found["items"])
    if "prefixItems" in found:
        found["prefixItems"] = [_open(entry) for entry in found["prefixItems"]]
    return found


def _words(classes: Iterable[type[Any]]) -> Schema:
    """A vocabulary: a word, or a word over its fields."""
    return _over(dict(_fields(cls, {}) for cls in classes))


def _over(words: Mapping[str, Schema]) -> Schema:
    """One of these words over its fields, or alone where no field is required."""
    bare = sorted(word for word, schema in words.items() if not schema["required"])
    return {
        "anyOf": [
            {"enum": bare},
            {**_closed(words, []), "minProperties": 1, "maxProperties": 1},
        ]
    }


def _fields(cls: type[Any], every: Schema) -> tuple[str, Schema]:
    """The word of a class and the schema of its fields; null stands for no fields."""
    own = cls.model_json_schema()
    properties: Schema = {
        name: _property(cls, name, schema) for name, schema in own.get("properties", {}).items()
    }
    schema = _closed({**properties, **every}, own.get("required", []))
    if not schema["required"]:
        schema["type"] = ["object", "null"]
    schema["description"] = inspect.getdoc(cls) or ""
    return cls.key, schema


def _mapping(cls: type[Fields]) -> Schema:
    """The fields of a class that goes by the name of the field it stands under."""
    own = cls.model_json_schema()
    properties = {name: _property(cls, name, each) for name, each in own["properties"].items()}
    schema = _closed(properties, own.get("required", []))
    return {**schema, "description": inspect.getdoc(cls) or ""}


def _property(cls: type[BaseModel], name: str, schema: Schema) -> Schema:
    kept = {key: value for key, value in schema.items() if key != "title"}
    info = cls.model_fields[name]
    if holds_initializer(info.annotation):
        kinds: list[Schema] = [{"$ref": "#/$defs/initializer"}]
        if NoneType in get_args(info.annotation):
            kinds.append({"type": "null"})
        kept = {"anyOf": kinds, "default": _spelled(info.default)}
    return _open(kept)


def _spelled(init: Initializer | None) -> object:
    if init is None:
        return None
    fields = init.model_dump(exclude_defaults=True)
    return {init.key: fields} if fields else init.key


def _closed(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }
