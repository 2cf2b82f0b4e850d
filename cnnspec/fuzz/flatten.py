"""A network as one list of layers: no blocks, no sequences, every name and every wire written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op
from cnnspec.ops.initializer import Initializer
from cnnspec.ops.slicing import SplitPart
from cnnspec.testing.networks import Spec
from cnnspec.training import Fields, Vocabulary
from cnnspec.treatment import treatment_of


def flat(graph: Graph) -> Spec:
    """The spec of a graph without any scope, as plain values."""
    spec: Spec = {"cnnspec": 1, "name": graph.name, "input": _inputs(graph)}
    names = _names(graph)
    layers: list[Any] = []
    for node in graph.nodes:
        if isinstance(node.op, SplitPart):
            if names[node.id].endswith(".0"):
                layers.append(_split(graph, node, names))
            continue
        entry: dict[str, Any] = {"name": names[node.id], **_read(node, names)}
        if node.owner is not None:
            entry["share"] = names[node.owner.id]
        entry |= {name: plain(value) for name, value in treatment_of(node).items()}
        layers.append({node.op.key: {**entry, **_fields(node.op)}})
    spec["layers"] = layers
    spec["outputs"] = {
        output.name: {"from": names[output.value.id], "training_only": True}
        if output.training_only
        else names[output.value.id]
        for output in graph.outputs
    }
    if graph.training is not None:
        training = graph.training
        losses = {name: plain(loss) for name, loss in training.losses.items()}
        spec["train"] = {
            "loss": losses if len(losses) > 1 else next(iter(losses.values())),
            **{name: plain(value) for name, value in training.written().items()},
        }
    spec["seed"] = graph.seed
    return spec


def alone(graph: Graph, id: str) -> Spec:
    """The spec of one node over inputs of its own, as plain values.

    Raises:
        KeyError: there is no such node.
    """
    node = graph.node(id)
    shapes = {value.id: list(value.shape) for value in node.inputs}
    titles = {value: f"in{place}" for place, value in enumerate(shapes)}
    if len(titles) == 1:
        titles = dict.fromkeys(titles, "input")
    spec: Spec = {"cnnspec": 1, "name": graph.name}
    spec["input"] = {titles[value]: shape for value, shape in shapes.items()}
    if len(titles) == 1:
        (spec["input"],) = shapes.values()
    if isinstance(node.op, SplitPart):
        layer = _split(graph, node, {node.id: "parts.0", **titles})
        count = layer["split"].get("into") or len(layer["split"]["sizes"])
        spec["layers"] = [layer]
        spec["outputs"] = {f"out{place}": f"parts.{place}" for place in range(count)}
        return spec
    spec["layers"] = [{node.op.key: {"name": "layer", **_read(node, titles), **_fields(node.op)}}]
    spec["seed"] = graph.seed
    return spec


def _inputs(graph: Graph) -> Any:
    if [entry.name for entry in graph.inputs] == ["input"]:
        return list(graph.inputs[0].shape)
    return {entry.name: list(entry.shape) for entry in graph.inputs}


def _names(graph: Graph) -> dict[str, str]:
    """What each value is called; parts of a split as parts of a layer."""
    found = {entry.id: entry.name for entry in graph.inputs}
    splits: dict[str, str] = {}
    for number, node in enumerate(graph.nodes):
        if isinstance(node.op, SplitPart):
            whole, _, part = node.id.rpartition(".")
            found[node.id] = f"{splits.setdefault(whole, f'at{number}')}.{part}"
        else:
            found[node.id] = f"at{number}"
    return found


def _read(node: Node[Op], names: Mapping[str, str]) -> dict[str, Any]:
    read = [names[value.id] for value in node.inputs]
    return {"from": read[0] if len(read) == 1 else read}


def _split(graph: Graph, node: Node[Op], names: Mapping[str, str]) -> Any:
    """A split with all its parts, whichever are read."""
    assert isinstance(node.op, SplitPart)
    whole = node.id.rpartition(".")[0]
    entry: dict[str, Any] = {"name": names[node.id].partition(".")[0], **_read(node, names)}
    if node.op.into is not None:
        entry["into"] = node.op.into
    else:
        parts = [
            other.op
            for other in graph.nodes
            if isinstance(other.op, SplitPart) and other.id.rpartition(".")[0] == whole
        ]
        entry["sizes"] = [part.stop - part.start for part in parts]
    return {"split": entry}


def _fields(op: Op) -> dict[str, Any]:
    """What differs from the defaults."""
    found = {}
    for name, info in type(op).model_fields.items():
        value = getattr(op, name)
        if value is not None and (info.is_required() or value != info.default):
            found[name] = plain(value)
    return found


def plain(value: Any) -> Any:
    """A field's value as a spec has it."""
    if isinstance(value, Initializer | Vocabulary):
        fields = {
            name: plain(getattr(value, name))
            for name, info in type(value).model_fields.items()
            if info.is_required() or getattr(value, name) != info.default
        }
        return {value.key: fields} if fields else value.key
    if isinstance(value, Fields):
        return {name: plain(each) for name, each in value.written().items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return value
