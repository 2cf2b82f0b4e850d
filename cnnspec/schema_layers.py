"""Entries of `layers:`: an op over its fields.

The op is looked up by its name, and then its class checks the fields, so that the place of an
error in a model is a path in the document.
"""

from __future__ import annotations

from typing import Any

from cnnspec import graph
from cnnspec.diagnostics import did_you_mean
from cnnspec.document import Path
from cnnspec.faults import Faults, quoted, shown
from cnnspec.ops import lookup, registered
from cnnspec.ops.base import Op
from cnnspec.schema_fields import (
    later,
    missing_field,
    read_model,
    read_name,
    read_shape,
    unknown_field,
    wrong_type,
)
from cnnspec.spec import Layer

SEQUENCE = "sequence"
LAYER_FIELDS = ("name", "from", "share", "expect")
LATER_LAYER_FIELDS = (
    "when", "repeat", "first", "last", "trainable", "regularize", "constrain",
)  # fmt: skip


def read_layers(faults: Faults, value: object, path: Path) -> tuple[Layer, ...]:
    """The entries of a list, without those at fault."""
    if not isinstance(value, tuple):
        wrong_type(faults, path, "`layers` is a list", "each entry is an op, over its fields")
        return ()
    if not value:
        faults.add("no-layers", path, "`layers` is empty", key=True)
    if len(value) > graph.MOST_NODES:
        faults.add(
            "too-many-layers",
            path,
            f"`layers` has {len(value):,} entries, above the limit of {graph.MOST_NODES:,} layers",
            key=True,
        )
        return ()
    found = (_layer(faults, entry, (*path, i)) for i, entry in enumerate(value))
    return tuple(layer for layer in found if layer is not None)


def _layer(faults: Faults, entry: object, path: Path) -> Layer | None:
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
    cls = lookup(key)
    if cls is None and key != SEQUENCE:
        every = [*(known.key for known in registered()), SEQUENCE]
        faults.add(
            "unknown-op",
            (*path, key),
            f"there is no op {quoted(key)}",
            help=did_you_mean(key, every),
            key=True,
        )
        return None
    return _known_layer(faults, key, cls, fields, path)


def _known_layer(
    faults: Faults, key: str, cls: type[Op] | None, fields: dict[str, Any], path: Path
) -> Layer:
    at: Path = (*path, key)
    for word in LATER_LAYER_FIELDS:
        if word in fields:
            del fields[word]
            later(faults, (*at, word))
    given = {word: fields.pop(word) for word in LAYER_FIELDS if word in fields}
    name = read_name(faults, given["name"], (*at, "name")) if "name" in given else None
    sources = _sources(faults, given["from"], (*at, "from")) if "from" in given else None
    share = _share(faults, given["share"], (*at, "share")) if "share" in given else None
    expect = read_shape(faults, given["expect"], (*at, "expect")) if "expect" in given else None
    if cls is None:
        layers = _sequence(faults, fields, at)
        return Layer(key, path, None, name, sources, share, expect, layers)
    known = [*cls.model_fields, *LAYER_FIELDS]
    op = read_model(faults, cls, fields, at, what=f"`{key}`", known=known)
    return Layer(key, path, op, name, sources, share, expect)


def _sources(faults: Faults, value: object, path: Path) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, tuple):
        found = tuple(name for name in value if isinstance(name, str))
        if found and len(found) == len(value):
            return found
    wrong_type(faults, path, "`from` is the name of a layer, or a list of names")
    return None


def _share(faults: Faults, value: object, path: Path) -> str | None:
    if isinstance(value, str):
        return value
    wrong_type(faults, path, "`share` is the name of a layer")
    return None


def _sequence(faults: Faults, fields: dict[str, Any], at: Path) -> tuple[Layer, ...]:
    for other in fields:
        if other != "layers":
            unknown_field(faults, at, "`sequence`", other, ["layers", *LAYER_FIELDS])
    if "layers" not in fields:
        missing_field(faults, at, "`sequence`", "layers")
        return ()
    return read_layers(faults, fields["layers"], (*at, "layers"))
