"""What each layer of a graph outputs, owns and costs: as data, and as a table, JSON or Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op, Shape, show

Form = Literal["table", "json", "markdown"]


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One layer; all counts are of scalars, for one sample.

    Attributes:
        name: its full name.
        op: its op's name in a spec.
        shape: of its output.
        trainable: parameters it owns that training changes.
        non_trainable: the others: running statistics and frozen weights.
        macs: multiply-accumulates in inference.
        shares: the layer whose parameters it uses, and which counts them.
    """

    name: str
    op: str
    shape: Shape
    trainable: int
    non_trainable: int
    macs: int
    shares: str | None = None

    @property
    def parameters(self) -> int:
        """Trainable or not."""
        return self.trainable + self.non_trainable


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole network; the input and output shapes are by name.

    Attributes:
        name: of the network.
        inputs: name and shape of each.
        outputs: name and shape of each.
        layers: in order.
        running_statistics: the part of `non_trainable` that data sets, and not gradients.
    """

    name: str
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]
    layers: tuple[LayerSummary, ...]
    running_statistics: int

    @property
    def trainable(self) -> int:
        """Trainable parameters of all layers."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def non_trainable(self) -> int:
        """Running statistics and frozen weights of all layers."""
        return sum(layer.non_trainable for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Trainable and not, as Keras counts."""
        return self.trainable + self.non_trainable

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    def as_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`; the keys are stable."""
        return {
            "name": self.name,
            "totals": {
                "parameters": self.parameters,
                "trainable": self.trainable,
                "non_trainable": self.non_trainable,
                "running_statistics": self.running_statistics,
                "macs": self.macs,
            },
            "layers": [
                {
                    "name": layer.name,
                    "op": layer.op,
                    "shape": list(layer.shape),
                    "parameters": layer.parameters,
                    "macs": layer.macs,
                }
                for layer in self.layers
            ],
        }


def summarize(graph: Graph) -> Summary:
    """Count parameters and work of every layer; a shared parameter counts once."""
    inferred = _needed_in_inference(graph)
    return Summary(
        name=graph.name,
        inputs=tuple((entry.name, entry.shape) for entry in graph.inputs),
        outputs=tuple((output.name, output.value.shape) for output in graph.outputs),
        layers=tuple(_layer(graph, node, node.id in inferred) for node in graph.nodes),
        running_statistics=sum(p.size for p in graph.params().values() if p.statistic),
    )


def _layer(graph: Graph, node: Node[Op], in_inference: bool) -> LayerSummary:
    own = node.params if node.owner is None else ()
    return LayerSummary(
        name=node.id,
        op=node.op.key,
        shape=node.shape,
        trainable=sum(param.size for param in own if param.trainable),
        non_trainable=sum(param.size for param in own if not param.trainable),
        macs=graph.macs(node) if in_inference else 0,
        shares=None if node.owner is None else node.owner.id,
    )


def _needed_in_inference(graph: Graph) -> set[str]:
    """Ids of the values behind the outputs that are not for training only."""
    stack = [output.value for output in graph.outputs if not output.training_only]
    found: set[str] = set()
    while stack:
        value = stack.pop()
        if value.id not in found:
            found.add(value.id)
            stack.extend(value.inputs if isinstance(value, Node) else ())
    return found


def render_summary(summary: Summary, form: Form = "table") -> str:
    """The summary as text, without a final line break."""
    if form == "json":
        return json.dumps(summary.as_json(), indent=2)
    return _markdown(summary) if form == "markdown" else _table(summary)


_HEADER = ("layer", "op", "output", "trainable", "other", "MACs")
_LEFT = 3  # columns of text; the others are numbers


def _rows(summary: Summary) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (name, "input", show(shape), "", "", "") for name, shape in summary.inputs
    ]
    for layer in summary.layers:
        counts = tuple(
            f"{n:,}" if n else "" for n in (layer.trainable, layer.non_trainable, layer.macs)
        )
        op = layer.op if layer.shares is None else f"{layer.op} (shares {layer.shares})"
        rows.append((layer.name, op, show(layer.shape), *counts))
    return rows


def _totals(summary: Summary) -> tuple[str, ...]:
    counts = (summary.trainable, summary.non_trainable, summary.macs)
    return ("total", "", "", *(f"{n:,}" for n in counts))


def _sentence(summary: Summary) -> str:
    other = f"{summary.non_trainable:,} not"
    if summary.running_statistics:
        other += f" ({summary.running_statistics:,} running statistics)"
    return (
        f"{summary.parameters:,} parameters: {summary.trainable:,} trainable, {other}; "
        f"{summary.macs:,} multiply-accumulates for each sample"
    )


def _table(summary: Summary) -> str:
    rows = [_HEADER, *_rows(summary), _totals(summary)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    lines = ["  ".join(_cells(row, widths)).rstrip() for row in rows]
    rule = "-" * max(len(line) for line in lines)
    body = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    return "\n".join([summary.name, "", *body, "", _sentence(summary)])


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if i < _LEFT else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _markdown(summary: Summary) -> str:
    rule = tuple("---" if i < _LEFT else "---:" for i in range(len(_HEADER)))
    rows = [_HEADER, rule, *_rows(summary), _totals(summary)]
    table = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([f"## {summary.name}", "", *table, "", _sentence(summary)])
