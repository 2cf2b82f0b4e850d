"""The same graph with other ops in some of its nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cnnspec.graph import Graph, Node, Scope, Value
from cnnspec.ops.base import Op


def rebuild(graph: Graph, change: Callable[[Node[Op]], Op]) -> Graph:
    """A graph in which each node has the op that `change` gives for it.

    Names, wires, parameters and scopes stay; `change` may not alter a shape or a parameter, which
    `verify` checks.
    """
    made: dict[str, Value] = {entry.id: entry for entry in graph.inputs}
    for node in graph.nodes:
        owner = node.owner
        if owner is not None:
            found = made[owner.id]
            assert isinstance(found, Node)
            owner = found
        made[node.id] = dataclasses.replace(
            node,
            op=change(node),
            inputs=tuple(made[value.id] for value in node.inputs),
            owner=owner,
        )
    scopes: dict[str, Scope] = {}

    def renewed(scope: Scope) -> Scope:
        children: list[Node[Op] | Scope] = []
        for child in scope.children:
            if isinstance(child, Scope):
                children.append(renewed(child))
            else:
                node = made[child.id]
                assert isinstance(node, Node)
                children.append(node)
        scopes[scope.path] = dataclasses.replace(
            scope,
            inputs=tuple((name, made[value.id]) for name, value in scope.inputs),
            outputs=tuple((name, made[value.id]) for name, value in scope.outputs),
            children=tuple(children),
            owner=None if scope.owner is None else scopes[scope.owner.path],
        )
        return scopes[scope.path]

    outputs = tuple(dataclasses.replace(o, value=made[o.value.id]) for o in graph.outputs)
    built = dataclasses.replace(graph, outputs=outputs, root=renewed(graph.root))
    built.verify()
    return built
