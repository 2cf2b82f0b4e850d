from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cnnspec.document import parse
from cnnspec.json_schema import json_schema
from cnnspec.ops import registered
from cnnspec.starter import STARTER
from tests.spec_errors import spec

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.yaml"))
TRAIN = "train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}%s}\n"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(json.dumps(json_schema())))


def value(text: str) -> Any:
    return json.loads(json.dumps(parse(text, "spec").value))


def test_it_is_a_schema(validator: Draft202012Validator) -> None:
    Draft202012Validator.check_schema(validator.schema)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_specs_are_valid(validator: Draft202012Validator, path: Path) -> None:
    validator.validate(value(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        STARTER,
        spec("relu: {}", "relu: null"),
        spec("conv: {filters: 1, kernel: [3, 3], padding: [[0, 1], [1, 0]]}"),
        spec("prelu: {weight_init: {normal: {std: 0.1}}}", "sequence: {layers: [relu]}"),
        spec("relu", more="outputs: {a: relu1, b: {from: relu1}}\n"),
        spec("relu", more=TRAIN % ", schedule: {exponential: {gamma: 0.5}}"),
        spec("max_pool: {kernel: 2, stride: null}"),
    ],
)
def test_valid(validator: Draft202012Validator, text: str) -> None:
    validator.validate(value(text))


@pytest.mark.parametrize(
    "text",
    [
        spec("conv: {filters: 8, kernel: 3, kernal: 3}"),
        spec("conv: {filters: 8}"),
        spec("conv"),
        spec("convolution: {filters: 8, kernel: 3}"),
        spec("conv: {filters: '8', kernel: 3}"),
        spec("conv: {filters: 0, kernel: 3}"),
        spec("conv: {filters: 8, kernel: 3, padding: sam}"),
        spec("conv: {filters: 8, kernel: 3, weight_init: he}"),
        spec("conv: {filters: 8, kernel: 3, weight_init: {normal: {sdt: 1}}}"),
        spec("relu: {form: x}"),
        spec("relu: {name: half}"),
        spec("relu: {name: class}"),
        spec("relu: {name: '0'}"),
        spec("{relu: {}, tanh: {}}"),
        spec("sequence: {layer: [relu]}"),
        spec("relu", more="trian: {}\n"),
        spec("relu", more=TRAIN % ", epoch: 3"),
        spec("relu", more=TRAIN % ", schedule: cosines"),
        spec("relu", more="train: {loss: mse, optimizer: {sgd: {lr: 1}}}\n"),
        spec("relu", more="train: {loss: cross_entropy, optimizer: sgd}\n"),
        spec("relu", input="[3, null, 8]"),
        "cnnspec: 2\ninput: [3]\nlayers: [relu]\n",
        "cnnspec: 1\nlayers: [relu]\n",
    ],
)
def test_not_valid(validator: Draft202012Validator, text: str) -> None:
    assert not validator.is_valid(value(text))


def test_every_object_is_closed() -> None:
    stack: list[Any] = [json_schema()]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            if "properties" in part and part.get("type") in ("object", ["object", "null"]):
                assert part["additionalProperties"] is False
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)


def test_every_op_is_described() -> None:
    objects = json_schema()["$defs"]["layer"]["anyOf"][1]["properties"]
    assert set(objects) == {"sequence", *(cls.key for cls in registered())}
    assert all(entry["description"] for entry in objects.values())
