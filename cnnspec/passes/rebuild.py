"""The same graph with other ops in some nodes, with inputs of another size, or without a node."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from cnnspec.graph import Graph, Input, Node, Scope, Value
from cnnspec.ops.base import Op, Shape

FINAL = ("softmax", "log_softmax", "sigmoid")
"""Activations that turn scores into probabilities."""

Renew = Callable[[Node[Op], tuple[Value, ...]], Node[Op]]


def rebuild(graph: Graph, change: Callable[[Node[Op]], Op]) -> Graph:
    """A graph in which each node has the op that `change` gives for it.

    Names, wires, parameters and scopes stay; `change` may not alter a shape or a parameter, which
    `verify` checks.
    """

    def renew(node: Node[Op], inputs: tuple[Value, ...]) -> Node[Op]:
        return dataclasses.replace(node, op=change(node), inputs=inputs)

    return _renewed(graph, {entry.id: entry for entry in graph.inputs}, renew)


def resize(graph: Graph, shapes: Mapping[str, Shape]) -> Graph:
    """A graph whose inputs have these shapes, by name; every other shape is inferred again.

    Names, wires, scopes and parameters stay, and `verify` checks that the parameters still fit.

    Raises:
        Reject: a layer does not accept the shapes.
    """

    def renew(node: Node[Op], inputs: tuple[Value, ...]) -> Node[Op]:
        shape = node.op.infer(*(value.shape for value in inputs)).shape
        return dataclasses.replace(node, inputs=inputs, shape=shape)

    entries = {x.id: dataclasses.replace(x, shape=shapes[x.name]) for x in graph.inputs}
    return _renewed(graph, entries, renew)


def logits(graph: Graph, output: str) -> Graph:
    """A graph whose output is what goes into its final softmax or sigmoid, and that cannot train.

    It is the same graph where the output is no such activation, where others read its value as
    well, or where it reads an input of the network.
    """
    chosen = next(o for o in graph.outputs if o.name == output)
    last = chosen.value
    if not isinstance(last, Node) or last.op.key not in FINAL or isinstance(last.inputs[0], Input):
        return graph
    if graph.users()[last.id] or sum(o.value is last for o in graph.outputs) > 1:
        return graph
    made: dict[str, Value] = {entry.id: entry for entry in graph.inputs}
    made.update((node.id, node) for node in graph.nodes)
    made[last.id] = last.inputs[0]
    built = dataclasses.replace(
        graph,
        outputs=tuple(dataclasses.replace(o, value=made[o.value.id]) for o in graph.outputs),
        root=_scope(graph.root, made, {}),
        training=None,
    )
    built.verify()
    return built


def _renewed(graph: Graph, inputs: Mapping[str, Input], renew: Renew) -> Graph:
    """Every node made anew out of its new inputs, and everything else pointing to the new ones."""
    made: dict[str, Value] = dict(inputs)
    for node in graph.nodes:
        renewed = renew(node, tuple(made[value.id] for value in node.inputs))
        if node.owner is not None:
            owner = made[node.owner.id]
            assert isinstance(owner, Node)
            renewed = dataclasses.replace(renewed, owner=owner)
        made[node.id] = renewed
    outputs = tuple(dataclasses.replace(o, value=made[o.value.id]) for o in graph.outputs)
    built = dataclasses.replace(
        graph, inputs=tuple(inputs.values()), outputs=outputs, root=_scope(graph.root, made, {})
    )
    built.verify()
    return built


def _scope(scope: Scope, made: Mapping[str, Value], known: dict[Scope, Scope]) -> Scope:
    """A scope over the new values; `known` has those made before, which it may share with."""
    children: list[Node[Op] | Scope] = []
    for child in scope.children:
        if isinstance(child, Scope):
            children.append(_scope(child, made, known))
        else:
            node = made[child.id]
            assert isinstance(node, Node)
            if node.id == child.id:  # else it has been left out, and stands for what it read
                children.append(node)
    known[scope] = dataclasses.replace(
        scope,
        inputs=tuple((name, made[value.id]) for name, value in scope.inputs),
        outputs=tuple((name, made[value.id]) for name, value in scope.outputs),
        children=tuple(children),
        owner=None if scope.owner is None else known[scope.owner],
        absent=tuple(dataclasses.replace(x, value=made[x.value.id]) for x in scope.absent),
    )
    return known[scope]
