"""A graph as YAML again, with every default and every name written; it reads back as it was.

Sequences stay. Layers that a sequence names by their position keep no name, because a position
cannot be given as a name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from cnnspec.build import build
from cnnspec.graph import Graph, Node, Scope, Value
from cnnspec.ops.base import Op, show
from cnnspec.ops.initializer import Initializer
from cnnspec.schema import VERSION
from cnnspec.spec import Spec
from cnnspec.training import Training, Vocabulary

WIDTH = 100

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TYPED = frozenset("null Null NULL true True TRUE false False FALSE".split())


def expand(network: Graph | Spec) -> str:
    """The fully resolved spec; what it is read back as has the same nodes, names and seed.

    Raises:
        SpecError: a spec was given, and it cannot be built.
    """
    graph = build(network).graph if isinstance(network, Spec) else network
    lines = [f"cnnspec: {VERSION}", f"name: {_scalar(graph.name)}", *_input(graph), "layers:"]
    lines += _children(graph.root, "  ")
    lines += _outputs(graph)
    if graph.training is not None:
        lines += _train(graph.training, [output.name for output in graph.outputs])
    lines.append(f"seed: {graph.seed}")
    return "\n".join(lines) + "\n"


def _input(graph: Graph) -> list[str]:
    names = [entry.name for entry in graph.inputs]
    if names == ["input"]:
        return [f"input: {_flow(graph.inputs[0].shape)}"]
    return ["input:", *(f"  {entry.name}: {_flow(entry.shape)}" for entry in graph.inputs)]


def _outputs(graph: Graph) -> list[str]:
    last = _value(graph.root.children[-1])
    names = _names(graph.root)
    if [output.name for output in graph.outputs] == ["output"]:
        (output,) = graph.outputs
        return [] if output.value is last else [f"outputs: {names[output.value.id]}"]
    pairs = (f"  {output.name}: {names[output.value.id]}" for output in graph.outputs)
    return ["outputs:", *pairs]


# --- layers ------------------------------------------------------------------------------------


def _value(child: Node[Op] | Scope) -> Value:
    return child.outputs[0][1] if isinstance(child, Scope) else child


def _names(scope: Scope) -> dict[str, str]:
    """What the values that a layer of this scope can read are called in it, by id."""
    several = len(scope.inputs) > 1
    names = {value.id: name if several else "input" for name, value in scope.inputs}
    names.update((_value(child).id, child.name) for child in scope.children)
    return names


def _children(scope: Scope, indent: str) -> list[str]:
    names = _names(scope)
    above = scope.inputs[0][1] if len(scope.inputs) == 1 else None
    lines = []
    for child in scope.children:
        fields: dict[str, object] = {} if child.name.isdigit() else {"name": child.name}
        inputs = child.inputs if isinstance(child, Node) else tuple(v for _, v in child.inputs)
        if inputs != (above,):
            read = tuple(names[value.id] for value in inputs)
            fields["from"] = read[0] if len(read) == 1 else read
        if isinstance(child, Scope):
            lines += [f"{indent}- {child.kind}:", *_block(fields, f"{indent}    ")]
            lines += [f"{indent}    layers:", *_children(child, f"{indent}      ")]
        else:
            if child.owner is not None:
                fields["share"] = names[child.owner.id]
            fields |= {name: v for name, v in child.op.fields().items() if v is not None}
            lines += _layer(child, fields, indent)
        above = _value(child)
    return lines


def _layer(node: Node[Op], fields: Mapping[str, object], indent: str) -> list[str]:
    """One line where it fits, else a line for each field; with the output's shape as a remark."""
    shape = f"  # {show(node.shape)}"
    head = f"{indent}- {node.op.key}"
    if not fields:
        return [head + shape]
    line = f"{head}: {_flow(fields)}"
    if len(line) <= WIDTH - len(shape):
        return [line + shape]
    return [f"{head}:{shape}", *_block(fields, f"{indent}    ")]


def _block(fields: Mapping[str, object], indent: str) -> list[str]:
    return [f"{indent}{name}: {_flow(value)}" for name, value in fields.items()]


# --- training ----------------------------------------------------------------------------------


def _train(training: Training, outputs: list[str]) -> list[str]:
    losses = [training.losses[name] for name in outputs]
    if len(losses) == 1:
        loss = [f"  loss: {_flow(losses[0])}"]
    else:
        pairs = zip(outputs, losses, strict=True)
        loss = ["  loss:", *(f"    {name}: {_flow(loss)}" for name, loss in pairs)]
    return [
        "train:",
        *loss,
        f"  optimizer: {_flow(training.optimizer)}",
        f"  schedule: {_flow(training.schedule)}",
        f"  batch: {training.batch}",
        f"  epochs: {training.epochs}",
    ]


# --- values ------------------------------------------------------------------------------------


def _flow(value: object) -> str:
    """A value on one line."""
    if isinstance(value, Initializer | Vocabulary):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        value = {value.key: fields} if fields else value.key
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_flow(entry) for entry in value) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    """A scalar that YAML 1.2 core reads back as the same value of the same type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # the shortest text that gives the same float: 1e-05, 0.1, 1.0
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value not in _TYPED
        return value if plain else json.dumps(value, ensure_ascii=False)
    raise TypeError(f"no spelling for {value!r}")
