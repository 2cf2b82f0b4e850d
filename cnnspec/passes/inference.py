"""The same network for inference alone, with fewer layers: what is left out, and what takes it in.

- What no output of inference needs goes: heads for training, and what leads to them.
- A layer that passes its input on goes: dropout and its like, a pad of nothing, a flat `flatten`.
- A `pad` goes into the padding of what reads it, where that means the same.
- A `batch_norm` or `layer_scale` goes into the weights of the layer that it follows.
- A `relu` may take the memory of what it reads, where that is another layer's value of its own.

Every layer that stays has its name, but for positions in a sequence, which count what is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cnnspec.diagnostics import Diagnostic, Label, SpecError
from cnnspec.graph import Graph, Input, Node, Value
from cnnspec.liveness import inference_nodes
from cnnspec.ops.activation import Relu, Relu6
from cnnspec.ops.base import Op
from cnnspec.ops.conv import Conv
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.dense import Dense
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.ops.merge import Add
from cnnspec.ops.norm import BatchNorm
from cnnspec.ops.scale import LayerScale
from cnnspec.passes.pads import merged
from cnnspec.passes.without import NUMBERED, without

__all__ = ["Optimized", "optimized"]

TAKES = (Conv, ConvTranspose, Dense, DepthwiseConv, SeparableConv)
"""Ops that a factor and a shift for each channel of their output can go into."""
GIVES = (BatchNorm, LayerScale)
"""Ops that are a factor and a shift for each channel in inference."""
OVERWRITES = (Relu, Relu6)
"""Ops whose gradients can be computed from their output."""
OVERWRITTEN = (*TAKES, BatchNorm, Add)
"""Ops whose output is new memory, and which need it for no gradient."""


@dataclass(frozen=True, slots=True)
class Optimized:
    """A network for inference, and how its weights come about.

    Attributes:
        graph: the network, without `train:`.
        weights: id of each layer of it that owns weights -> the layer of the original that these
            were the weights of, and what has gone into them, in this order.
        values: id of each layer of it -> the layer of the original whose value it has.
    """

    graph: Graph
    weights: Mapping[str, tuple[Node[Op], ...]]
    values: Mapping[str, str]


def optimized(graph: Graph) -> Optimized:
    """The network for inference.

    It computes what the original does in inference, up to rounding, once its weights have been
    made by `cnnspec.optimize.fold_weights`.

    Raises:
        SpecError: a layer uses the weights of one that only training needs.
    """
    keep: set[str] = set()
    while True:
        plan = _Plan(graph, frozenset(keep))
        partly = set(plan.partly())
        if not partly:
            return plan.made()
        keep |= partly  # instances are numbered, and a number is missing


@dataclass(slots=True)
class _Plan:
    """What becomes of each layer.

    Attributes:
        graph: the original.
        keep: ids of layers that stay, whatever they do.
        nodes: those that inference needs, by id, in order.
        gone: id of a layer that goes -> the value that stands for it.
        ops: id -> the op of a layer that has become another.
        folded: id -> what goes into the layer's weights.
    """

    graph: Graph
    keep: frozenset[str]
    nodes: dict[str, Node[Op]] = field(init=False)
    gone: dict[str, Value] = field(default_factory=dict)
    ops: dict[str, Op] = field(default_factory=dict)
    folded: dict[str, tuple[Node[Op], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes = {node.id: node for node in inference_nodes(self.graph)}
        self._require_owners()
        self._pass_on()
        self._merge_pads()
        while self._fold():
            pass

    # --- what is there -------------------------------------------------------------------------

    def _require_owners(self) -> None:
        faults = []
        for node in self.nodes.values():
            if node.owner is not None and node.owner.id not in self.nodes:
                where = None if node.origin is None else Label(node.origin.span)
                faults.append(
                    Diagnostic(
                        "optimize-shared",
                        f"`{node.id}` uses the weights of `{node.owner.id}`, which only training "
                        "needs, and which is left out",
                        where,
                        help="without `--optimize` it can be compiled",
                    )
                )
        if faults:
            raise SpecError(faults)

    def value(self, value: Value) -> Value:
        """What stands for a value of the original."""
        while value.id in self.gone:
            value = self.gone[value.id]
        return value

    def _left(self) -> Iterator[Node[Op]]:
        return (node for node in self.nodes.values() if node.id not in self.gone)

    def _users(self) -> dict[str, list[Node[Op]]]:
        """The layers that read each value, by its id."""
        found: dict[str, list[Node[Op]]] = {}
        for node in self._left():
            for value in node.inputs:
                found.setdefault(self.value(value).id, []).append(node)
        return found

    def _outputs(self) -> set[str]:
        """Ids of the values that are outputs of the network."""
        return {self.value(o.value).id for o in self.graph.outputs if not o.training_only}

    def _groups(self) -> dict[str, list[Node[Op]]]:
        """The layers that use each set of weights."""
        found: dict[str, list[Node[Op]]] = {}
        for node in self._left():
            found.setdefault(node.weights_id, []).append(node)
        return found

    def _op(self, node: Node[Op]) -> Op:
        return self.ops.get(node.id, node.op)

    # --- layers that pass their input on -------------------------------------------------------

    def _pass_on(self) -> None:
        outputs = self._outputs()
        for node in self.nodes.values():
            if node.id in self.keep or not node.op.identity(node.inputs[0].shape):
                continue
            stands = self.value(node.inputs[0])
            if isinstance(stands, Input) and node.id in outputs:
                continue  # an output is a layer's value
            self.gone[node.id] = stands

    # --- pads ----------------------------------------------------------------------------------

    def _merge_pads(self) -> None:
        """The last ones first: a pad in front of a pad goes into what both are in front of."""
        users, outputs, groups = self._users(), self._outputs(), self._groups()
        for node in reversed(list(self._left())):
            if node.op.key != "pad" or node.id in self.keep or node.id in outputs:
                continue
            readers = users[node.id]
            made = {r.id: merged(node, self._op(r)) for r in readers}
            if any(op is None for op in made.values()):
                continue
            if any(len(groups[reader.weights_id]) > 1 for reader in readers):
                continue  # layers that share weights have one op
            self.ops.update({id: op for id, op in made.items() if op is not None})
            self.gone[node.id] = self.value(node.inputs[0])
            users.setdefault(self.gone[node.id].id, []).extend(readers)
            users[self.gone[node.id].id].remove(node)

    # --- factors and shifts --------------------------------------------------------------------

    def _fold(self) -> bool:
        """Let layers take in what follows them; whether there was any."""
        users, outputs, groups = self._users(), self._outputs(), self._groups()
        taken: dict[str, Node[Op]] = {}
        for node in self._left():
            source = self.value(node.inputs[0])
            if (
                isinstance(node.op, GIVES)
                and node.id not in self.keep
                and isinstance(source, Node)
                and isinstance(source.op, TAKES)
                and len(users[source.id]) == 1
                and source.id not in outputs
            ):
                taken[source.id] = node
        while True:
            wrong = set(self._unfitting(taken, groups))
            if not wrong:
                break
            taken = {id: node for id, node in taken.items() if id not in wrong}
        for id, node in taken.items():
            self.gone[node.id] = source = self.nodes[id]
            self.folded[id] = (*self.folded.get(id, ()), node)
            if isinstance(node.op, BatchNorm):
                self.ops[id] = self._op(source).model_copy(update={"bias": True})
        return bool(taken)

    def _unfitting(
        self, taken: Mapping[str, Node[Op]], groups: Mapping[str, list[Node[Op]]]
    ) -> Iterator[str]:
        """Layers whose weights would have to be two things, or whose norm is used elsewhere."""
        going = {node.id for node in taken.values()}
        for id, node in taken.items():
            alike = groups[self.nodes[id].weights_id]
            norms = {taken[s.id].weights_id if s.id in taken else None for s in alike}
            if len(norms) > 1 or any(n.id not in going for n in groups[node.weights_id]):
                yield id

    # --- memory --------------------------------------------------------------------------------

    def in_place(self) -> set[str]:
        """Ids of layers that may take their input's memory.

        Both layers are written in one place, and so is what is true of one instance of a block
        true of all.
        """
        users, outputs, around = self._users(), self._outputs(), self._around()
        found: dict[object, list[tuple[str, bool]]] = {}
        for node in self._left():
            if not isinstance(self._op(node), OVERWRITES):
                continue
            source = self.value(node.inputs[0])
            alone = (
                isinstance(source, Node)
                and isinstance(self._op(source), OVERWRITTEN)
                and len(users[source.id]) == 1
                and source.id not in outputs
                and around[source.id] == around[node.id]
            )
            written = node.id if node.origin is None else node.origin.span
            found.setdefault(written, []).append((node.id, alone))
        alike = (group for group in found.values() if all(alone for _, alone in group))
        return {id for group in alike for id, _ in group}

    def _around(self) -> dict[str, str]:
        """The path of the block instance around each node; that of the network is empty."""
        found: dict[str, str] = {}
        stack = [(self.graph.root, "")]
        while stack:
            scope, path = stack.pop()
            for child in scope.children:
                if isinstance(child, Node):
                    found[child.id] = path
                else:
                    stack.append((child, child.path if child.kind == "block" else path))
        return found

    # --- the outcome ---------------------------------------------------------------------------

    def partly(self) -> Iterator[str]:
        """Layers that go while others of the same `repeat:` or `split` stay."""
        for scope in self.graph.root.scopes():
            if scope.kind not in NUMBERED:
                continue
            inside = [c for c in scope.children if isinstance(c, Node) and c.id in self.nodes]
            going = [node.id for node in inside if node.id in self.gone]
            if len(going) < len(inside):
                yield from going

    def made(self) -> Optimized:
        """The network."""
        graph = self.graph
        last = {self.value(node).id: node.id for node in self.nodes.values()}
        renewed: dict[str, Node[Op]] = {}
        in_place = self.in_place()

        def renew(node: Node[Op], inputs: tuple[Value, ...], id: str) -> Node[Op]:
            op = self._op(node)
            inferred = op.infer(*(value.shape for value in inputs))
            changed = {name for name in op.fields() if getattr(op, name) != getattr(node.op, name)}
            expressions = {
                name: text
                for name, text in node.expressions.items()
                if name.partition(".")[0] not in changed
            }
            renewed[id] = node
            return dataclasses.replace(
                node,
                id=id,
                op=op,
                inputs=inputs,
                params=inferred.params,
                expressions=expressions,
                trainable=True,
                regularize=None,
                constrain=None,
                in_place=node.id in in_place,
            )

        lean = dataclasses.replace(
            graph,
            outputs=tuple(o for o in graph.outputs if not o.training_only),
            training=None,
        )
        built = without(lean, self.nodes.keys() - self.gone.keys(), self.value, renew)
        owners = (node for node in built.nodes if node.owner is None and node.params)
        return Optimized(
            built,
            {n.id: (renewed[n.id], *self.folded.get(renewed[n.id].id, ())) for n in owners},
            {node.id: last[renewed[node.id].id] for node in built.nodes},
        )
