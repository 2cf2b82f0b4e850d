"""The same graph with final activations outside of blocks, where a class can leave them out."""

from __future__ import annotations

import dataclasses

from cnnspec.graph import Graph, Node, Scope
from cnnspec.ops.base import Op

__all__ = ["hoisted"]


def hoisted(graph: Graph) -> Graph:
    """A graph whose losses read no value from inside of a block's instance.

    A loss reads what goes into its output's softmax or sigmoid. Where that is the last layer of a
    block, the network applies it to what the block gives instead: it has no parameters, so that
    nothing but its place in the text changes. Ids stay.
    """
    logits = graph.logits()
    for output in graph.outputs:
        node = output.value
        if isinstance(node, Node) and logits[output.name] is not node:
            root = _hoisted(graph, node)
            if root is not None:
                graph = dataclasses.replace(graph, root=root)
    return graph


def _hoisted(graph: Graph, node: Node[Op]) -> Scope | None:
    """The root with a node at its end; None where it is in no block, or has to stay."""
    path = _path(graph.root, node)
    kinds = {scope.kind for scope in path[1:]}
    if "block" not in kinds or kinds & {"repeat", "instances", "split"}:
        return None
    shared = {id(scope.owner) for scope in graph.root.scopes() if scope.owner is not None}
    if any(scope.owner is not None or id(scope) in shared for scope in path):
        return None
    if graph.users()[node.id]:
        return None
    inner: Scope | None = None
    for scope, below in zip(reversed(path), [None, *reversed(path[1:])], strict=True):
        children = tuple(
            inner if below is not None and child is below else child
            for child in scope.children
            if child is not node
        )
        if scope is graph.root:
            return dataclasses.replace(scope, children=(*_present(children), node))
        outputs = tuple((n, node.inputs[0] if v is node else v) for n, v in scope.outputs)
        inner = dataclasses.replace(scope, children=_present(children), outputs=outputs)
    raise AssertionError("a path begins at the root")


def _present(children: tuple[Node[Op] | Scope | None, ...]) -> tuple[Node[Op] | Scope, ...]:
    return tuple(child for child in children if child is not None)


def _path(root: Scope, node: Node[Op]) -> list[Scope]:
    """The scopes around a node, from the root on."""
    path = [root]
    while node not in path[-1].children:
        path.append(
            next(
                child
                for child in path[-1].children
                if isinstance(child, Scope) and any(inner is node for inner in child.nodes())
            )
        )
    return path
