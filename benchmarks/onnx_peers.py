"""The NumPy file of ResNet-18 against ONNX's reference evaluator and ONNX Runtime, where they are.

Neither is needed for anything else: `pip install onnx onnxruntime`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

import cnnspec
from benchmarks.harness import THREADS, Result, clock_of, compare, judged
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op

Array = npt.NDArray[Any]

SPEC = "specs/resnet18.yaml"
GOAL = 0.05
"""Of the reference evaluator's time."""


def run() -> list[Result]:
    """Forward, batch 1, float32."""
    if find_spec("onnx") is None:
        return []
    graph = cnnspec.load(SPEC)
    weights = {k: v.astype(np.float32) for k, v in cnnspec.initial_weights(graph).items()}
    network = cnnspec.build(graph, "numpy", weights=weights, dtype="float32")
    x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    expected = network.predict(x)
    model = onnx_model(graph, weights)
    found = []
    for name, call in peers(model, x).items():
        if not np.allclose(call(), expected, rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"{name} computes something else")
        result = compare(
            "numpy ResNet-18, inference of 1",
            name,
            clock_of(lambda: network.predict(x)),
            clock_of(call),
            repeats=4,
            warm_up=1,
        )
        found.append(judged(result, GOAL) if "reference" in name else result)
    return found


def peers(model: Any, x: Array) -> dict[str, Callable[[], Array]]:
    """The calls, by what they are called."""
    from onnx.reference import ReferenceEvaluator

    reference = ReferenceEvaluator(model)
    found: dict[str, Callable[[], Array]] = {
        "ONNX's reference evaluator": lambda: np.asarray(reference.run(None, {"input": x})[0])
    }
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        runtime = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found["ONNX Runtime"] = lambda: np.asarray(runtime.run(None, {"input": x})[0])
    return found


def onnx_model(graph: Graph, weights: Mapping[str, Array]) -> Any:
    """The network as an ONNX model; only the ops of a ResNet are known."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes = []
    for node in graph.nodes:
        op_type, names, attributes = written(node)
        inputs = [value.id for value in node.inputs] + [f"{node.id}.{name}" for name in names]
        nodes.append(helper.make_node(op_type, inputs, [node.id], **attributes))
    (entry,), (output,) = graph.inputs, graph.outputs
    made = helper.make_graph(
        nodes,
        graph.name,
        [helper.make_tensor_value_info(entry.id, TensorProto.FLOAT, ["N", *entry.shape])],
        [
            helper.make_tensor_value_info(
                output.value.id, TensorProto.FLOAT, ["N", *output.value.shape]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model


def written(node: Node[Op]) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """The op, its parameters and its attributes in ONNX."""
    window = node.op.window(node.input_shapes[0])
    names = tuple(param.name for param in node.params)
    if window is not None and node.op.key in {"conv", "max_pool"}:
        before, after = zip(*window.pads, strict=True)
        attributes = {
            "kernel_shape": list(window.kernel),
            "strides": list(window.stride),
            "pads": [*before, *after],
        }
        return ("Conv" if node.op.key == "conv" else "MaxPool"), names, attributes
    match node.op.key:
        case "batch_norm":
            ordered = ("weight", "bias", "running_mean", "running_var")
            return "BatchNormalization", ordered, {"epsilon": node.op.fields()["eps"]}
        case "dense":
            return "Gemm", ("weight", "bias"), {"transB": 1}
        case "relu" | "add" | "flatten":
            return node.op.key.capitalize(), (), {}
        case "global_avg_pool":
            return "GlobalAveragePool", (), {}
    raise NotImplementedError(node.op.key)
