"""The spec language as JSON Schema (draft 2020-12), so that editors complete and check specs.

It is derived from the op classes and vocabularies and knows form only: names that exist, fields,
types and ranges. Wires and shapes are what `cnnspec validate` checks.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from cnnspec import names
from cnnspec.ops import registered
from cnnspec.ops.initializer import INITIALIZERS, Initializer
from cnnspec.schema import MOST_SEED, VERSION
from cnnspec.schema_fields import MOST_SIZE
from cnnspec.schema_layers import SEQUENCE
from cnnspec.training import LOSSES, OPTIMIZERS, SCHEDULES

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema as plain values for `json.dumps`."""
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
        "batch": {"type": "integer", "minimum": 1, "maximum": MOST_SIZE, "default": 32},
        "epochs": {"type": "integer", "minimum": 1, "maximum": MOST_SIZE, "default": 1},
    }
    top: Schema = {
        "cnnspec": {"const": VERSION, "description": "version of the spec language"},
        "name": {**name, "default": "network"},
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
                            _closed({"from": {"type": "string"}}, ["from"]),
                        ]
                    },
                },
            ],
        },
        "train": _closed(train, ["loss", "optimizer"]),
        "seed": {"type": "integer", "minimum": 0, "maximum": MOST_SEED, "default": 0},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cnnspec {VERSION}",
        **_closed(top, ["cnnspec", "input", "layers"]),
        "$defs": _definitions(),
    }


def _definitions() -> Schema:
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
        "shape": {
            "description": "channels (or features), then up to three spatial sizes",
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": MOST_SIZE},
            "minItems": 1,
            "maxItems": 4,
        },
        "layers": layers,
        "layer": _layer(),
        "initializer": _words(INITIALIZERS.values()),
        "loss": _words(LOSSES.values()),
        "optimizer": _words(OPTIMIZERS.values()),
        "schedule": _words(SCHEDULES.values()),
    }


def _layer() -> Schema:
    every: Schema = {
        "name": {"$ref": "#/$defs/layer_name"},
        "from": {
            "description": "the layers or inputs that it reads; default: the layer above",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        },
        "share": {"type": "string", "description": "the layer above whose parameters it uses"},
        "expect": {"$ref": "#/$defs/shape", "description": "the shape that its output has"},
    }
    sequence = _closed({"layers": {"$ref": "#/$defs/layers"}, **every}, ["layers"])
    sequence["description"] = "Layers one after the other, as one layer."
    words = [_fields(cls, every) for cls in registered()]
    return _over({**dict(words), SEQUENCE: sequence})


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


def _property(cls: type[BaseModel], name: str, schema: Schema) -> Schema:
    kept = {key: value for key, value in schema.items() if key != "title"}
    if cls.model_fields[name].annotation is Initializer:
        kept = {"$ref": "#/$defs/initializer", "default": _spelled(cls.model_fields[name].default)}
    return kept


def _spelled(init: Initializer) -> object:
    fields = init.model_dump(exclude_defaults=True)
    return {init.key: fields} if fields else init.key


def _closed(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }
