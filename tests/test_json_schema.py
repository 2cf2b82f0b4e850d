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

SPECS = sorted((Path(__file__).parent.parent / "specs").rglob("*.yaml"))
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
        spec("b", "b: null", "b: {name: n, repeat: 2, channels: [1, 2], first: {x: $y}}"),
        spec("conv: {filters: $n, kernel: [$k, 3], bias: $(n > 2), repeat: $(2 * n), when: $a}"),
        spec("conv: {filters: 1, kernel: 3, repeat: 2, first: {stride: 2}, last: {bias: false}}"),
        spec(
            "conv: {name: c$(index + 1), filters: 1, kernel: 3, weight_init: {normal: {std: $s}}}"
        ),
        spec("relu: {expect: [$c, 3, 3]}", "relu: {expect: $shape}", input="[3, $size, 8]"),
        spec("relu", more="parameters: {a: 1, b: [x, 2], c: true, d: required}\n"),
        spec("relu", more="include: [blocks/a.yaml]\ndefine: {b: {layers: [relu]}}\n"),
        spec(
            "relu",
            more="define: {b: {parameters: {c: 1}, inputs: [x, y], outputs: {m: a, n: b},"
            " layers: [{conv: {filters: $c, kernel: 1}}, b]}}\n",
        ),
        spec("relu", more="outputs: {a: {from: relu1, training_only: true}, b: relu1}\n"),
        "cnnspec: 1\ndefine: {b: {layers: [relu]}}\n",
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
        spec("not-a-name: {filters: 8, kernel: 3}"),
        spec("b: {repeat: -1}"),
        spec("b: {c: {d: 1}}"),
        spec("conv: {filters: n, kernel: 3}"),
        spec("conv: {filters: 8, kernel: 3, repeat: 2, first: {strid: 2}}"),
        spec("relu", more="define: {b: {parameters: {c: 1}}}\n"),
        spec("relu", more="define: {b: {layers: [relu], output: relu1}}\n"),
        spec("relu", more="parameters: {a: null}\n"),
        spec("relu", more="include: a.yaml\n"),
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


def test_every_object_is_closed_but_blocks() -> None:
    opened = []
    stack: list[Any] = [json_schema()]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            kind = part.get("type") if "properties" in part else None
            if kind in ("object", ["object", "null"]) and part["additionalProperties"] is not False:
                opened.append(part["description"])
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)
    assert opened == ["One of the file's blocks, over its parameters."]


def test_every_op_is_described() -> None:
    objects = json_schema()["$defs"]["layer"]["anyOf"][2]["properties"]
    assert set(objects) == {"sequence", *(cls.key for cls in registered())}
    assert all(entry["description"] for entry in objects.values())
