"""The resolved network: nodes with shapes, edges as objects, and the tree of scopes.

A graph is frozen and can be built without a file. Passes are functions from graph to graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cnnspec.diagnostics import Span
from cnnspec.ops.base import Op, Param, Shape
from cnnspec.training import Training

OpT_co = TypeVar("OpT_co", bound=Op, covariant=True)

MOST_ELEMENTS = 2**31 - 1
MOST_NODES = 1_000_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was written; `expanded` are the places a block was used, innermost first."""

    span: Span
    fields: Mapping[str, Span] = field(default_factory=dict)
    expanded: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Input:
    """An input of the network; `shape` is channels (or features), then space."""

    name: str
    shape: Shape
    origin: Origin | None = None

    @property
    def id(self) -> str:
        """Its name; inputs and nodes share one name space."""
        return self.name

    def __repr__(self) -> str:
        return f"Input({self.name!r}, {self.shape})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node(Generic[OpT_co]):
    """One layer instance, with exactly one output.

    Attributes:
        id: its full name, a path such as `layer2.0.conv1`.
        op: what it computes.
        inputs: where its inputs come from.
        shape: of its output, without the batch.
        params: what it owns, or what it uses of `owner`.
        owner: the node whose parameters it shares, None where they are its own.
        expressions: for fields written as an expression, its text.
        origin: where it was written, None for a graph made without a file.
    """

    id: str
    op: OpT_co
    inputs: tuple[Value, ...]
    shape: Shape
    params: tuple[Param, ...] = ()
    owner: Node[Op] | None = None
    expressions: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.id.rpartition(".")[2]

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """The shapes of its inputs."""
        return tuple(value.shape for value in self.inputs)

    @property
    def weights_id(self) -> str:
        """The id under which its parameters are stored."""
        return self.id if self.owner is None else self.owner.id

    def __repr__(self) -> str:
        return f"Node({self.id!r}, {self.op.key}, {self.shape})"


Value = Input | Node[Op]


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a block instance: its value, and the expression it was written as."""

    name: str
    value: object
    expression: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """An instance of a block, a sequence, a repeat, or the network itself (path `""`).

    Attributes:
        path: its full name.
        kind: `network`, `sequence`, `block` or `repeat`.
        block: the name of the block, None for everything else.
        arguments: of the block instance.
        inputs: name -> where the value comes from.
        outputs: name -> the value inside; the first is the scope's value.
        children: nodes and scopes in order.
        owner: the scope whose parameters this one shares.
        origin: where it was written.
    """

    path: str
    kind: str
    block: str | None
    arguments: tuple[Argument, ...]
    inputs: tuple[tuple[str, Value], ...]
    outputs: tuple[tuple[str, Value], ...]
    children: tuple[Node[Op] | Scope, ...]
    owner: Scope | None = None
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    def nodes(self) -> Iterator[Node[Op]]:
        """Every node inside, in order."""
        stack: list[Node[Op] | Scope] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, Scope):
                stack.extend(reversed(item.children))
            else:
                yield item


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """An output of the network; training-only ones are absent in inference."""

    name: str
    value: Value
    training_only: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A network, ready to be emitted.

    Attributes:
        name: of the network.
        inputs: in order.
        outputs: in order.
        root: the scope tree; `nodes` lists its nodes in topological order.
        training: loss, optimizer and schedule, None where the spec has none.
        seed: for initial weights, masks and data order.
        origin: where its name was written, None for a graph made without a file.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    root: Scope
    training: Training | None = None
    seed: int = 0
    origin: Origin | None = None
    nodes: tuple[Node[Op], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.root.nodes()))

    def params(self) -> dict[str, Param]:
        """Every parameter and statistic by canonical name, shared ones once, in order."""
        return {
            f"{node.id}.{param.name}": param
            for node in self.nodes
            if node.owner is None
            for param in node.params
        }

    def users(self) -> dict[str, list[Node[Op]]]:
        """The nodes that read each value, by its id, in order; once for each time they read it."""
        values: list[Value] = [*self.inputs, *self.nodes]
        found: dict[str, list[Node[Op]]] = {value.id: [] for value in values}
        for node in self.nodes:
            for value in node.inputs:
                found[value.id].append(node)
        return found

    def node(self, id: str) -> Node[Op]:
        """The node of this id; KeyError if there is none."""
        for node in self.nodes:
            if node.id == id:
                return node
        raise KeyError(id)

    def logits(self) -> dict[str, Value]:
        """For each output, the value that its loss reads.

        A softmax output with cross entropy, or a sigmoid one with binary cross entropy, keeps its
        softmax; the loss reads what goes into it.
        """
        losses = {} if self.training is None else self.training.losses
        found: dict[str, Value] = {}
        for output in self.outputs:
            value = output.value
            loss = losses.get(output.name)
            folds = () if loss is None else loss.folds
            if isinstance(value, Node) and value.op.key in folds:
                value = value.inputs[0]
            found[output.name] = value
        return found

    def macs(self, node: Node[Op]) -> int:
        """Multiply-accumulates of one node for one sample."""
        return node.op.macs(node.input_shapes, node.shape)

    def null_gradients(self) -> frozenset[str]:
        """Canonical names of parameters whose gradient is zero by construction.

        That is a bias in front of a batch norm: the norm takes its mean away again.
        """
        users = self.users()
        found = set()
        for node in self.nodes:
            if not any(param.name == "bias" for param in node.params):
                continue
            readers = users[node.id]
            if readers and all(reader.op.key == "batch_norm" for reader in readers):
                found.add(f"{node.weights_id}.bias")
        outputs = {output.value.id for output in self.outputs}
        shared = {n.weights_id for n in self.nodes if n.owner is not None}
        return frozenset(
            name
            for name in found
            if name.rpartition(".")[0] not in outputs and name.rpartition(".")[0] not in shared
        )

    def verify(self) -> None:
        """Raise AssertionError unless every invariant holds.

        Ids are unique; inputs of a node come before it; shapes and parameters are what its op
        infers from its inputs; a sharing node has its owner's parameters, and the owner comes
        first; outputs are values of the graph; the scope tree's paths prefix its children.
        """
        known: dict[str, Value] = {}
        for entry in self.inputs:
            assert entry.id not in known, f"two values are called {entry.id}"
            known[entry.id] = entry
        for node in self.nodes:
            assert node.id not in known, f"two values are called {node.id}"
            for value in node.inputs:
                assert known.get(value.id) is value, f"{node.id} reads {value.id} before it exists"
            inferred = node.op.infer(*node.input_shapes)
            assert inferred.shape == node.shape, f"{node.id} has shape {node.shape}"
            shapes = [(p.name, p.shape) for p in node.params]
            assert shapes == [(p.name, p.shape) for p in inferred.params], node.id
            assert math.prod(node.shape) <= MOST_ELEMENTS, node.id
            if node.owner is not None:
                assert known.get(node.owner.id) is node.owner, f"{node.id} shares what comes later"
                assert node.owner.owner is None, f"{node.id} shares with one that shares"
                assert node.owner.params == node.params, node.id
            known[node.id] = node
        assert self.outputs, "no output"
        assert len({o.name for o in self.outputs}) == len(self.outputs), "two outputs of one name"
        for output in self.outputs:
            assert known.get(output.value.id) is output.value, output.name
        if self.training is not None:
            assert set(self.training.losses) == {o.name for o in self.outputs}
        self._verify_scopes(known)

    def _verify_scopes(self, known: Mapping[str, Value]) -> None:
        stack = [self.root]
        assert self.root.path == "", "the root scope's path is empty"
        while stack:
            scope = stack.pop()
            prefix = f"{scope.path}." if scope.path else ""
            for _, value in (*scope.inputs, *scope.outputs):
                assert known.get(value.id) is value, f"{scope.path} names an unknown value"
            for child in scope.children:
                path = child.path if isinstance(child, Scope) else child.id
                assert path.startswith(prefix), f"{path} is outside {scope.path}"
                if isinstance(child, Scope):
                    stack.append(child)
