"""What each layer of a graph outputs, owns, costs and sees, and what that adds up to, as data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields

from cnnspec.costs import flops, other_ops
from cnnspec.graph import Graph, Node, Scope
from cnnspec.liveness import inference_nodes, kept_elements, peak_elements
from cnnspec.ops.base import Op, Shape, spatial
from cnnspec.receptive_field import Reach, Reaches, receptive_fields

DTYPES: Mapping[str, int] = {"float64": 8, "float32": 4, "bfloat16": 2}
"""Bytes of one element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of scalars, and of arithmetic for one sample; parameters that are shared count once.

    Attributes:
        trainable: parameters that training changes.
        non_trainable: the others: running statistics and frozen weights.
        running_statistics: the part of `non_trainable` that data sets, and not gradients.
        macs: multiply-accumulates of convolutions and dense layers.
        flops: floating-point operations of the same: two for each of `macs`, and the bias.
        other_ops: operations of everything else; `cnnspec.costs` has the rule.
    """

    trainable: int = 0
    non_trainable: int = 0
    running_statistics: int = 0
    macs: int = 0
    flops: int = 0
    other_ops: int = 0

    @property
    def parameters(self) -> int:
        """Trainable and not, as Keras counts."""
        return self.trainable + self.non_trainable

    def counts(self) -> dict[str, int]:
        """By name, `parameters` first."""
        names = (entry.name for entry in fields(Counts))
        return {"parameters": self.parameters} | {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSummary(Counts):
    """One layer, or a scope with everything in it; its arithmetic is 0 if it is for training only.

    Attributes:
        name: its full name.
        op: its op's name in a spec; of a scope its block or its kind.
        shape: of its output.
        shares: the layer whose parameters it uses, and which counts them.
        layers: how many it stands for.
        inference: whether it, or some layer in it, takes part in inference.
        fields: what an element sees, for every input that it depends on; empty for what is for
            training only.
    """

    name: str
    op: str
    shape: Shape
    shares: str | None = None
    layers: int = 1
    inference: bool = True
    fields: Mapping[str, Reaches] = field(default_factory=dict)

    @property
    def elements(self) -> int:
        """Of its output, for one sample."""
        return math.prod(self.shape)

    def as_json(self) -> dict[str, object]:
        """Plain values; see docs/summary.md."""
        return {
            "name": self.name,
            "op": self.op,
            "shape": list(self.shape),
            **self.counts(),
            "layers": self.layers,
            "inference": self.inference,
            "shares": self.shares,
            "receptive_field": {
                name: [_reach_as_json(reach) for reach in axes]
                for name, axes in self.fields.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Memory:
    """Elements in memory; activations for one sample.

    Attributes:
        batch: the number of samples that bytes are stated for.
        parameters: parameters and running statistics.
        training: what is kept for backward; `cnnspec.liveness` has the rule.
        inference: the most that is alive at once.
    """

    batch: int
    parameters: int
    training: int
    inference: int

    def bytes(self, dtype: str) -> dict[str, int]:
        """Bytes of the three, activations for the whole batch.

        Args:
            dtype: one of `DTYPES`, which all of them have.
        """
        itemsize = DTYPES[dtype]
        return {
            "parameters": itemsize * self.parameters,
            "training": itemsize * self.batch * self.training,
            "inference": itemsize * self.batch * self.inference,
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole network.

    Attributes:
        name: of the network.
        inputs: name and shape of each.
        outputs: name and shape of each.
        layers: in order; scopes where they have been folded.
        training: counts of all layers.
        inference: counts without what only auxiliary heads (training-only outputs) need.
        memory: of parameters and activations.
    """

    name: str
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]
    layers: tuple[LayerSummary, ...]
    training: Counts
    inference: Counts
    memory: Memory

    @property
    def totals(self) -> Counts:
        """Parameters of all layers, arithmetic of inference."""
        every, used = self.training, self.inference
        return Counts(
            trainable=every.trainable,
            non_trainable=every.non_trainable,
            running_statistics=every.running_statistics,
            macs=used.macs,
            flops=used.flops,
            other_ops=used.other_ops,
        )

    def as_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`; the keys are stable, see docs/summary.md."""
        totals = self.totals.counts()
        return {
            "name": self.name,
            **totals,
            "totals": totals,
            "training": self.training.counts(),
            "inference": self.inference.counts(),
            "memory": {
                "batch": self.memory.batch,
                **{dtype: self.memory.bytes(dtype) for dtype in DTYPES},
            },
            "inputs": [{"name": name, "shape": list(shape)} for name, shape in self.inputs],
            "outputs": [{"name": name, "shape": list(shape)} for name, shape in self.outputs],
            "layers": [layer.as_json() for layer in self.layers],
        }


def summarize(graph: Graph, *, depth: int | None = None, batch: int = 1) -> Summary:
    """Count parameters and work of every layer, in time linear in their number.

    Args:
        graph: the network.
        depth: the most parts of a name that get a row of their own: what is deeper is added up in
            its block or sequence, with 0 in the network; None for every layer.
        batch: samples that the memory of activations is stated for.
    """
    used = {node.id for node in inference_nodes(graph)}
    owners = {node.weights_id for node in graph.nodes if node.id in used}
    counts = {node.id: _counted(node) for node in graph.nodes}
    found = receptive_fields(graph)
    seen = {id: found[id] for id in (*(entry.id for entry in graph.inputs), *used)}
    parameters = sum(param.size for param in graph.params().values())
    return Summary(
        name=graph.name,
        inputs=tuple((entry.name, entry.shape) for entry in graph.inputs),
        outputs=tuple((output.name, output.value.shape) for output in graph.outputs),
        layers=tuple(
            _row(item, counts, used, seen, graph.name) for item in _shown(graph.root, depth)
        ),
        training=_sum(counts.values()),
        inference=_sum(
            _part(count, parameters=id in owners, work=id in used) for id, count in counts.items()
        ),
        memory=Memory(batch, parameters, kept_elements(graph), peak_elements(graph)),
    )


def totals(graph: Graph) -> Counts:
    """Parameters of all layers, arithmetic of inference."""
    used = {node.id for node in inference_nodes(graph)}
    return _sum(_part(_counted(n), parameters=True, work=n.id in used) for n in graph.nodes)


def _counted(node: Node[Op]) -> Counts:
    own = node.params if node.owner is None else ()
    trainable = sum(param.size for param in own if param.trainable)
    return Counts(
        trainable=trainable,
        non_trainable=sum(param.size for param in own) - trainable,
        running_statistics=sum(param.size for param in own if param.statistic),
        macs=node.op.macs(node.input_shapes, node.shape),
        flops=flops(node),
        other_ops=other_ops(node),
    )


def _part(count: Counts, *, parameters: bool, work: bool) -> Counts:
    return Counts(
        trainable=count.trainable if parameters else 0,
        non_trainable=count.non_trainable if parameters else 0,
        running_statistics=count.running_statistics if parameters else 0,
        macs=count.macs if work else 0,
        flops=count.flops if work else 0,
        other_ops=count.other_ops if work else 0,
    )


def _sum(counts: Iterable[Counts]) -> Counts:
    totals = dict.fromkeys((entry.name for entry in fields(Counts)), 0)
    for count in counts:
        for name in totals:
            totals[name] += getattr(count, name)
    return Counts(**totals)


def _shown(root: Scope, depth: int | None) -> Iterator[Node[Op] | Scope]:
    """The nodes, and instead of what lies too deep the scopes around it."""
    stack: list[Node[Op] | Scope] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, Scope) and (depth is None or _level(item.path) < depth):
            stack.extend(reversed(item.children))
        else:
            yield item


def _level(path: str) -> int:
    return path.count(".") + 1 if path else 0


def _row(
    item: Node[Op] | Scope,
    counts: Mapping[str, Counts],
    used: set[str],
    seen: Mapping[str, Mapping[str, Reaches]],
    network: str,
) -> LayerSummary:
    nodes = list(item.nodes()) if isinstance(item, Scope) else [item]
    value = item.outputs[0][1] if isinstance(item, Scope) else item
    path = item.path or network if isinstance(item, Scope) else item.id
    owner = item.owner.path if isinstance(item, Scope) and item.owner is not None else None
    if isinstance(item, Node) and item.owner is not None:
        owner = item.owner.id
    total = _sum(_part(counts[n.id], parameters=True, work=n.id in used) for n in nodes)
    return LayerSummary(
        name=path,
        op=kind(item),
        shape=value.shape,
        shares=owner,
        layers=len(nodes),
        inference=not nodes or any(node.id in used for node in nodes),
        fields=seen.get(value.id, {}),
        trainable=total.trainable,
        non_trainable=total.non_trainable,
        running_statistics=total.running_statistics,
        macs=total.macs,
        flops=total.flops,
        other_ops=total.other_ops,
    )


def kind(item: Node[Op] | Scope) -> str:
    """The op of a node, the block of an instance; of a repeat layer that and its number."""
    if isinstance(item, Node):
        return item.op.key
    if item.kind in ("repeat", "instances") and item.children:
        return f"{len(item.children)} x {kind(item.children[0])}"
    return item.block or item.kind


def _reach_as_json(reach: Reach | None) -> dict[str, object] | None:
    if reach is None:
        return None
    jump = reach.jump
    if jump is not None and jump == int(jump):
        stride: int | float | None = int(jump)
    else:
        stride = None if jump is None else float(jump)
    return {"size": reach.size, "stride": stride, "offset": reach.start}


def sees_everything(layer: LayerSummary, inputs: Mapping[str, Shape]) -> bool:
    """Whether every element of a layer sees all of space of each input that it depends on."""
    return bool(layer.fields) and all(
        reach is not None and reach.whole(length)
        for name, axes in layer.fields.items()
        for reach, length in zip(axes, spatial(inputs[name]), strict=True)
    )
