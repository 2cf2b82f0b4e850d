"""The node tests of ONNX: models and data of the installed onnx package, as plain values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One node test: an op, its attributes, and what it makes of given inputs.

    Attributes:
        name: ONNX's, without `test_`.
        op: type of the node; of a function body, type of the node that it stands for.
        domain: of the op, empty for ONNX's own.
        attributes: by name, defaults included.
        inputs: by position; None where an optional one is left out.
        outputs: the expected ones by name, in order.
        rtol: relative tolerance that the test itself would grant.
        atol: absolute tolerance that the test itself would grant.
        body: whether the model is the op's definition by primitive ops, on another case's data.
    """

    name: str
    op: str
    domain: str
    attributes: Mapping[str, Any]
    inputs: tuple[Any, ...]
    outputs: Mapping[str, Any]
    rtol: float
    atol: float
    body: bool

    @property
    def base(self) -> str:
        """The name of the case whose data a function body works on."""
        return self.name.split("_expanded")[0]

    @property
    def expected(self) -> Array:
        """The first output."""
        found: Array = next(iter(self.outputs.values()))
        return found

    def given(self, position: int) -> Array | None:
        """An input, or None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def whole(self, position: int) -> tuple[int, ...] | None:
        """An input that holds integers: sizes, axes, pads."""
        value = self.given(position)
        return None if value is None else tuple(int(entry) for entry in np.ravel(value))


@cache
def load() -> tuple[Case, ...]:
    """Every node test, in ONNX's order; their data are drawn anew, from fixed seeds."""
    from onnx.backend.test.loader import load_model_tests

    state = np.random.get_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs overflow and divide by zero on purpose
            found = load_model_tests(kind="node")
    finally:
        np.random.set_state(state)
    nodes = {test.name: test.model.graph.node for test in found}
    return tuple(_case(test, nodes) for test in found)


def _case(test: Any, nodes: Mapping[str, Any]) -> Case:
    body = "_expanded" in test.name
    (node,) = nodes[test.name.split("_expanded")[0]]
    opset = {entry.domain: entry.version for entry in test.model.opset_import}
    ((inputs, outputs),) = test.data_sets
    values = iter(inputs)
    return Case(
        name=test.name.removeprefix("test_"),
        op=node.op_type,
        domain=node.domain,
        attributes={} if body else _attributes(node, opset[node.domain]),
        inputs=tuple(next(values) if name else None for name in node.input),
        outputs=dict(zip((name for name in node.output if name), outputs, strict=True)),
        rtol=test.rtol,
        atol=test.atol,
        body=body,
    )


def _attributes(node: Any, opset: int) -> dict[str, Any]:
    from onnx import defs, helper

    schema = defs.get_schema(node.op_type, opset, node.domain)
    defaults = {n: a.default_value for n, a in schema.attributes.items() if a.default_value.type}
    written = {attribute.name: attribute for attribute in node.attribute}
    found = {n: helper.get_attribute_value(a) for n, a in (defaults | written).items()}
    return {n: v.decode() if isinstance(v, bytes) else v for n, v in found.items()}
