"""docs/schema.json: every spec of ours is valid, and editors complete ops and fields with it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from jsonschema import Draft202012Validator

from cnnspec.document import parse
from cnnspec.json_schema import ENDS, json_schema
from cnnspec.ops.base import Op
from cnnspec.ops.initializer import INITIALIZERS
from cnnspec.schema_layers import SEQUENCE
from cnnspec.testing.docs.cases import documented
from cnnspec.training import LOSSES, OPTIMIZERS, SCHEDULES

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "docs" / "schema.json"
SPECS = sorted((ROOT / "specs").rglob("*.yaml"))
OPS = documented()
EVERY = {
    "name", "from", "when", "repeat", "share", "expect", "trainable", "regularize", "constrain",
}  # fmt: skip

Schema = Mapping[str, Any]

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.key)


@pytest.fixture(scope="module")
def schema() -> Schema:
    found = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def validator(schema: Schema) -> Draft202012Validator:
    return Draft202012Validator(dict(schema))


def test_it_is_not_stale(schema: Schema) -> None:
    assert schema == json.loads(json.dumps(json_schema(OPS))), "`make docs` writes it anew"


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_spec_is_valid(validator: Draft202012Validator, path: Path) -> None:
    value = parse(path.read_text(encoding="utf-8"), path.name).value
    validator.validate(json.loads(json.dumps(value)))


# --- completion --------------------------------------------------------------------------------


def branches(schema: Schema, part: Any) -> Iterator[Schema]:
    """A part and all that its references and alternatives lead to, as an editor looks them up."""
    if not isinstance(part, dict):
        return
    yield part
    if "$ref" in part:
        yield from branches(schema, schema["$defs"][part["$ref"].removeprefix("#/$defs/")])
    for word in ("anyOf", "allOf"):
        for each in part.get(word, ()):
            yield from branches(schema, each)


def under(schema: Schema, part: Any, key: str | int) -> Iterator[Schema]:
    """What is said about the value of a key, or about an entry of a list."""
    for each in branches(schema, part):
        if isinstance(key, int):
            yield from branches(schema, each.get("items"))
        elif key in each.get("properties", {}):
            yield from branches(schema, each["properties"][key])
        else:
            matched = [p for p in each.get("patternProperties", {}) if re.search(p, key)]
            for pattern in matched:
                yield from branches(schema, each["patternProperties"][pattern])


def at(schema: Schema, *path: str | int) -> list[Schema]:
    """Everything that is said about a place in a spec."""
    places: list[Schema] = list(branches(schema, schema))
    for key in path:
        places = [found for place in places for found in under(schema, place, key)]
    return places


def keys(schema: Schema, *path: str | int) -> set[str]:
    """The keys that are offered at a place."""
    return {key for part in at(schema, *path) for key in part.get("properties", {})}


def words(schema: Schema, *path: str | int) -> set[Any]:
    """The values that are offered at a place."""
    found = {value for part in at(schema, *path) for value in part.get("enum", ())}
    if any(part.get("type") == "boolean" for part in at(schema, *path)):
        found |= {False, True}
    return found


LAYER = ("layers", 0)
IN_BLOCK = ("layers", 0, SEQUENCE, "layers", 2)


def test_sections_are_completed(schema: Schema) -> None:
    assert {"cnnspec", "name", "input", "define", "layers", "outputs", "train"} <= keys(schema)
    words = {"accumulate", "groups", "clip", "average", "early_stopping"}
    assert {"optimizer", "loss", "schedule", "batch", "epochs", *words} == keys(schema, "train")
    for kind, known in (("loss", LOSSES), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        for key, cls in known.items():
            assert set(cls.model_fields) <= keys(schema, "train", kind, key)


@pytest.mark.parametrize("place", [LAYER, IN_BLOCK], ids=["layers", "sequence"])
def test_ops_are_completed(schema: Schema, place: tuple[str | int, ...]) -> None:
    assert keys(schema, *place) == {SEQUENCE, *(op.key for op in OPS)}
    bare = {op.key for op in OPS if not any(f.is_required() for f in op.model_fields.values())}
    assert words(schema, *place) == bare


@each_op
def test_fields_are_completed(schema: Schema, op: type[Op]) -> None:
    assert keys(schema, *LAYER, op.key) == {*op.model_fields, *EVERY, *ENDS}
    for end in ENDS:
        assert keys(schema, *LAYER, op.key, end) == set(op.model_fields)


@each_op
def test_values_are_completed(schema: Schema, op: type[Op]) -> None:
    for name, info in op.model_fields.items():
        offered = words(schema, *LAYER, op.key, name)
        if info.annotation is bool:
            assert offered == {False, True}
        elif get_origin(info.annotation) is Literal:
            assert offered == set(get_args(info.annotation))
        elif name.endswith("_init"):
            assert keys(schema, *LAYER, op.key, name) == set(INITIALIZERS)


@each_op
def test_hovering_tells_the_formula_and_the_default(schema: Schema, op: type[Op]) -> None:
    assert any(part.get("description") == inspect.getdoc(op) for part in at(schema, *LAYER, op.key))
    for name, info in op.model_fields.items():
        stated = [part["default"] for part in at(schema, *LAYER, op.key, name) if "default" in part]
        assert bool(stated) is not info.is_required(), name


# --- what is refused, and what may be an expression --------------------------------------------

REQUIRED: Mapping[str, Any] = {
    "filters": 4,
    "kernel": 3,
    "units": 4,
    "size": 3,
    "groups": 2,
    "factor": 2,
    "cropping": 1,
    "padding": 1,
    "p": 0.5,
    "mean": [0.5],
    "std": [1],
    "shape": [-1],
}


def required(op: type[Op]) -> dict[str, Any]:
    axes: Any = [1, 0] if op.key == "permute" else "space"
    known = {**REQUIRED, "axes": axes}
    return {name: known[name] for name, info in op.model_fields.items() if info.is_required()}


def spec(layer: Any) -> dict[str, Any]:
    return {"cnnspec": 1, "name": "net", "input": [8, 6, 4], "layers": [layer]}


@each_op
def test_a_wrong_field_is_refused(validator: Draft202012Validator, op: type[Op]) -> None:
    fields = required(op)
    assert validator.is_valid(spec({op.key: fields}))
    assert not validator.is_valid(spec({op.key: {**fields, "no_such_field": 1}}))
    assert not validator.is_valid(spec({op.key: {**fields, "first": {"no_such_field": 1}}}))
    assert not validator.is_valid(
        spec({op.key: fields, "relu6" if op.key == "relu" else "relu": {}})
    )
    for name in fields:
        rest = {key: value for key, value in fields.items() if key != name}
        assert not validator.is_valid(spec({op.key: rest})), name


@each_op
def test_a_wrong_value_is_refused(validator: Draft202012Validator, op: type[Op]) -> None:
    for name in op.model_fields:
        for wrong in ("no such word", {"no_such_key": 1}):
            assert not validator.is_valid(spec({op.key: {**required(op), name: wrong}})), name


@each_op
def test_every_field_may_be_an_expression(validator: Draft202012Validator, op: type[Op]) -> None:
    given = {name: f"${name}" for name in (*op.model_fields, *EVERY)}
    for name, value in given.items():
        assert validator.is_valid(spec({op.key: {**required(op), name: value}})), name
        assert not validator.is_valid(spec({op.key: {**required(op), name: value, "$x": 1}}))
    ends = {end: {name: f"${name}" for name in op.model_fields} for end in ENDS}
    assert validator.is_valid(spec({op.key: {**given, **ends}}))


def test_what_else_may_be_an_expression(validator: Draft202012Validator) -> None:
    plain = spec({"conv": {"filters": "$(2 * n)", "kernel": ["$k", 3], "repeat": "$n"}})
    train = {"loss": "$loss", "optimizer": "$optimizer", "schedule": "$schedule", "batch": "$b"}
    rate = {"loss": "cross_entropy", "optimizer": {"sgd": {"lr": "$rate"}}, "epochs": "$(2 * n)"}
    for more in ({"train": train}, {"train": rate}, {"name": "$name"}, {"seed": "$seed"}):
        assert validator.is_valid({**plain, **more}), more
    for shape in ("$shape", ["$c", 6, 4], {"a": "$shape", "b": [1, "$w"]}):
        assert validator.is_valid({**plain, "input": shape}), shape
    assert not validator.is_valid({**plain, "cnnspec": "$version"})


def test_a_key_that_is_no_op_is_a_block(validator: Draft202012Validator) -> None:
    assert validator.is_valid(spec({"bottleneck": {"channels": 64, "anything": [1, "$x"]}}))
    assert validator.is_valid(spec("bottleneck"))
    assert not validator.is_valid(spec({"no-name": {"channels": 64}}))
    assert not validator.is_valid(spec("no-name"))
    assert not validator.is_valid(spec({"bottleneck": {"repeat": -1}}))
