"""Spec -> Graph: names are resolved, shapes inferred, and every fault of that phase reported."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cnnspec import graph as limits
from cnnspec.build_layers import Layers
from cnnspec.build_nodes import Place
from cnnspec.build_outputs import (
    input_path,
    report_groups,
    report_unused,
    resolve_outputs,
    resolve_training,
)
from cnnspec.diagnostics import Diagnostic
from cnnspec.faults import Faults
from cnnspec.graph import Graph, Input, Origin, Scope
from cnnspec.ops import lookup
from cnnspec.ops.base import Shape
from cnnspec.spec import Layer, Spec
from cnnspec.wires import UNKNOWN, Names


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A graph, and the warnings found on the way, in the order of the text."""

    graph: Graph
    warnings: tuple[Diagnostic, ...] = ()


def build(spec: Spec) -> Built:
    """Expand blocks, resolve names and infer shapes.

    Raises:
        SpecError: with every fault of names, wires and shapes.
    """
    return _Builder(spec).build()


class _Builder:
    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.faults = Faults(spec.document, list(spec.warnings))
        self.layers = Layers(spec.blocks)

    def build(self) -> Built:
        spec = self.spec
        self._count()
        inputs = tuple(self._input(name, shape) for name, shape in spec.inputs)
        names = Names(inputs=tuple(entry.name for entry in inputs))
        for entry in inputs:
            fits = math.prod(entry.shape) <= limits.MOST_ELEMENTS
            names.values[entry.name] = entry if fits else UNKNOWN
        only = names.values[inputs[0].name] if len(inputs) == 1 else None
        if only is not None:
            names.values["input"] = only
        place = Place(self.faults, names)
        made = self.layers.scope(place, spec.layers, only)
        outputs = resolve_outputs(spec, self.faults, names, made.value)
        root = Scope(
            path="",
            kind="network",
            block=None,
            arguments=(),
            inputs=tuple((entry.name, entry) for entry in inputs),
            outputs=tuple((output.name, output.value) for output in outputs),
            children=made.children,
            absent=made.absent,
        )
        if not self.faults.errors:  # else what is missing may be what would have read a layer
            written, missed = self.layers.written, self.layers.missed
            report_unused(self.faults, inputs, root.nodes(), outputs, written, missed)
        training = resolve_training(spec, self.faults, outputs)
        self.faults.raise_any()
        named = Origin(spec.document.span(("name",)))
        graph = Graph(spec.name, inputs, outputs, root, training, spec.seed, named, spec.data)
        report_groups(self.faults, graph)
        self.faults.raise_any()
        self._warn_of_null_gradients(graph)
        graph.verify()
        return Built(graph, tuple(self.faults.sorted()))

    def _count(self) -> None:
        """Refuse more layers than a graph may have, before any is built."""
        count = self.layers.instances.count(self.faults, self.spec.layers, {})
        self.faults.raise_any()
        if count.too_large:
            number = max(count.nodes, count.steps // 4)
            self.faults.add(
                "too-many-layers",
                ("layers",),
                f"the network has at least {number:,} layers, "
                f"above the limit of {limits.MOST_NODES:,}",
                key=True,
            )
            self.faults.raise_any()

    def _input(self, name: str, shape: Shape) -> Input:
        path = input_path(self.faults, Input(name, shape))
        self.layers.fits(self.faults, f"input `{name}`", shape, path)
        self.layers.rows.append((name, "input", shape))
        return Input(name, shape, Origin(self.spec.document.span(path)))

    def _warn_of_null_gradients(self, graph: Graph) -> None:
        owners, users = graph.owners(), graph.users()
        for name in sorted(graph.null_gradients()):
            id = owners[name]
            norm = users[id][0].op.key.replace("_", " ")
            faults, layer = self.layers.written(id)
            faults.add(
                "bias-before-norm",
                layer.fields,
                f"the bias of `{id}` has no effect: the {norm} behind it takes it away",
                help="`bias: false`" if _has_bias(layer) else "",
                key=True,
                severity="warning",
            )


def _has_bias(layer: Layer) -> bool:
    cls = lookup(layer.key)
    return cls is not None and "bias" in cls.model_fields


__all__ = ["Built", "build"]
