"""The resolved network: nodes with shapes, edges as objects, and the tree of scopes.

A graph is frozen and can be built without a file. Passes are functions from graph to graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from cnnspec.diagnostics import Span
from cnnspec.ops.base import Op, Param, Shape

if TYPE_CHECKING:  # their many classes take time to make, and few specs need them all
    from cnnspec.data_section import DataSection
    from cnnspec.training import Constrain, Regularize, Training

OpT_co = TypeVar("OpT_co", bound=Op, covariant=True)

MOST_ELEMENTS = 2**31 - 1
MOST_NODES = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
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
        expressions: for fields written as an expression, its text: Python over the parameters of
            the block around it, and `index` and `count` inside a repeat.
        when: the expression of its `when:`, None where it has none or a constant.
        trainable: whether training changes its parameters.
        regularize: what its weights cost, None where they cost nothing.
        constrain: what its weights are held to after each update, None for nothing.
        in_place: whether its value may take the memory of its input, which nothing else reads.
        origin: where it was written, None for a graph made without a file.
    """

    id: str
    op: OpT_co
    inputs: tuple[Value, ...]
    shape: Shape
    params: tuple[Param, ...] = ()
    owner: Node[Op] | None = None
    expressions: Mapping[str, str] = field(default_factory=dict)
    when: str | None = None
    trainable: bool = True
    regularize: Regularize | None = None
    constrain: Constrain | None = None
    in_place: bool = False
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


class Required:
    """The type of `REQUIRED`, which stands for a parameter without a default."""

    def __repr__(self) -> str:
        return "REQUIRED"

    def __reduce__(self) -> str:
        return "REQUIRED"  # there is one of it, in every process


REQUIRED = Required()


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument: its value, and the expression it was written as.

    Attributes:
        name: of the block's parameter.
        value: an integer, float, boolean, string, or a tuple of these.
        expression: Python over the parameters of the block *around* the instance, and `index` and
            `count` inside a repeat; None where it is a constant or the parameter's default.
        default: the parameter's default, `REQUIRED` where it has none.
    """

    name: str
    value: object
    expression: str | None = None
    default: object = REQUIRED


@dataclass(frozen=True, slots=True, eq=False)
class Absent:
    """A layer that its `when:` has taken out of a scope; its name stands for its first input.

    Attributes:
        name: that it would have; inside a sequence the position it would have had.
        key: its op or block.
        when: the expression that was false.
        value: what its name stands for.
        position: how many children of the scope come before it.
    """

    name: str
    key: str
    when: str
    value: Value
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A part of the network: an instance of a block, a sequence, a repeat, or all (path `""`).

    A layer with `repeat: n` is a scope of kind `repeat`, whose children are its instances `0`,
    `1`, ... (nodes, blocks or sequences), each reading the one before. Where the instances have
    names of their own (`denselayer$(index + 1)`), or are positions of a sequence, the kind is
    `instances`: such a scope adds no level, its path is that of the scope around it. A `split` is
    a scope whose children `0`, `1`, ... all read its input.

    Attributes:
        path: its full name.
        kind: `network`, `sequence`, `block`, `repeat`, `instances` or `split`.
        block: the name of the block, None for everything else.
        arguments: of the block instance, every parameter in the order of its declaration; of a
            repeat one, `repeat`, its number.
        inputs: name -> where the value comes from.
        outputs: name -> the value; the first is the scope's value. It may be a value from outside,
            where everything in between has been taken out.
        children: nodes and scopes in order.
        owner: the scope whose parameters this one shares.
        when: the expression of its `when:`, None where it has none or a constant.
        absent: layers that an expression in `when:` has taken out.
        named: of kind `instances`, the expression of the instances' names (an f-string's text such
            as `denselayer{index + 1}`), None for positions.
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
    when: str | None = None
    absent: tuple[Absent, ...] = ()
    named: str | None = None
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    def scopes(self) -> Iterator[Scope]:
        """Itself and every scope inside, an outer one before those in it."""
        stack = [self]
        while stack:
            scope = stack.pop()
            yield scope
            stack.extend(c for c in reversed(scope.children) if isinstance(c, Scope))

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
        data: what the spec says about its data, None where it says nothing.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    root: Scope
    training: Training | None = None
    seed: int = 0
    origin: Origin | None = None
    data: DataSection | None = None
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

    def frozen(self) -> frozenset[str]:
        """Canonical names of the parameters that are not trained, without running statistics."""
        training = self.training
        found = set()
        for node in self.nodes:
            for param in () if node.owner is not None else node.params:
                name = f"{node.id}.{param.name}"
                group = None if training is None else training.group(name)
                if not param.statistic and not (
                    node.trainable and (group is None or group.trainable)
                ):
                    found.add(name)
        return frozenset(found)

    def trains(self) -> bool:
        """Whether an update has anything to change."""
        frozen = self.frozen()
        return any(p.trainable and name not in frozen for name, p in self.params().items())

    def owners(self) -> dict[str, str]:
        """For the canonical name of every parameter, the id of the node that owns it."""
        return {
            f"{node.id}.{param.name}": node.id
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

        That is a bias in front of a norm that takes it away again, as part of its mean: one for
        each channel in front of a batch or instance norm, say.
        """
        users = self.users()
        outputs = {output.value.id for output in self.outputs}
        shared = {n.weights_id for n in self.nodes if n.owner is not None}
        found = set()
        for node in self.nodes:
            if node.weights_id in outputs or node.weights_id in shared:
                continue
            for param in node.params:
                if param.name.rpartition(".")[2] != "bias":
                    continue
                along = zip(param.layout.replace("O", "C"), param.shape, strict=True)
                varies = frozenset(letter for letter, size in along if size > 1)
                readers = users[node.id]
                if readers and all(reader.op.removes(node.shape, varies) for reader in readers):
                    found.add(f"{node.weights_id}.{param.name}")
        return frozenset(found)

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
            stands = [(entry.name, entry.value) for entry in scope.absent]
            for _, value in (*scope.inputs, *scope.outputs, *stands):
                assert known.get(value.id) is value, f"{scope.path} names an unknown value"
            for child in scope.children:
                path = child.path if isinstance(child, Scope) else child.id
                if isinstance(child, Scope):
                    stack.append(child)
                    if child.kind == "instances":
                        assert path == scope.path, f"instances {path} add a level to {scope.path}"
                        continue
                assert path.startswith(prefix), f"{path} is outside {scope.path}"
