"""Spec -> Graph: names are resolved, shapes inferred, and every fault of that phase reported."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cnnspec import graph as limits
from cnnspec.build_outputs import input_path, report_unused, resolve_outputs, resolve_training
from cnnspec.diagnostics import Diagnostic, Label
from cnnspec.document import Path
from cnnspec.faults import Faults, quoted
from cnnspec.graph import Graph, Input, Node, Origin, Scope, Value
from cnnspec.ops.base import Inferred, Op, Reject, Shape, show
from cnnspec.spec import Layer, Spec
from cnnspec.wires import UNKNOWN, Known, Names, Unknown, give_name, look_up, name_label, own_names

SHAPE_TABLE_ROWS = 20


@dataclass(frozen=True, slots=True)
class Built:
    """A graph, and the warnings found on the way, in the order of the text."""

    graph: Graph
    warnings: tuple[Diagnostic, ...] = ()


def build(spec: Spec) -> Built:
    """Resolve names and infer shapes.

    Raises:
        SpecError: with every fault of names, wires and shapes.
    """
    return _Builder(spec).build()


class _Builder:
    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.document = spec.document
        self.faults = Faults(spec.document)
        self.rows: list[tuple[str, str, Shape]] = []
        self.layer_of: dict[str, Layer] = {}

    def build(self) -> Built:
        inputs = tuple(self._input(name, shape) for name, shape in self.spec.inputs)
        names = Names(inputs=tuple(entry.name for entry in inputs))
        for entry in inputs:
            fits = math.prod(entry.shape) <= limits.MOST_ELEMENTS
            names.values[entry.name] = entry if fits else UNKNOWN
        only = names.values[inputs[0].name] if len(inputs) == 1 else None
        if only is not None:
            names.values["input"] = only
        self._count()
        children, last = self._layers(self.spec.layers, "", names, only, sequence=False)
        outputs = resolve_outputs(self.spec, self.faults, names, last)
        root = Scope(
            path="",
            kind="network",
            block=None,
            arguments=(),
            inputs=tuple((entry.name, entry) for entry in inputs),
            outputs=tuple((output.name, output.value) for output in outputs),
            children=children,
        )
        if not self.faults.errors:  # else what is missing may be what would have read a layer
            nodes = root.nodes()
            report_unused(self.faults, inputs, nodes, outputs, lambda n: self.layer_of[n.id])
        training = resolve_training(self.spec, self.faults, outputs)
        self.faults.raise_any()
        if training is not None and not any(p.trainable for n in root.nodes() for p in n.params):
            self.faults.add(
                "nothing-to-train",
                ("train",),
                "the network has no parameters to train",
                help="take `train:` out, or add a layer with weights",
                key=True,
            )
            self.faults.raise_any()
        named = Origin(self.document.span(("name",)))
        graph = Graph(self.spec.name, inputs, outputs, root, training, self.spec.seed, named)
        self._warn_of_null_gradients(graph)
        graph.verify()
        return Built(graph, tuple(self.faults.sorted()))

    def _count(self) -> None:
        """Refuse more layers than a graph may have, before any is built."""
        stack, count = list(self.spec.layers), 0
        while stack:
            layer = stack.pop()
            count += layer.op is not None
            stack.extend(layer.layers)
        if count > limits.MOST_NODES:
            self.faults.add(
                "too-many-layers",
                ("layers",),
                f"the network has {count:,} layers, above the limit of {limits.MOST_NODES:,}",
                key=True,
            )
            self.faults.raise_any()

    def _input(self, name: str, shape: Shape) -> Input:
        path = input_path(self.faults, Input(name, shape))
        self._limit(math.prod(shape), f"input `{name}`", shape, path)
        self.rows.append((name, "input", shape))
        return Input(name, shape, Origin(self.document.span(path)))

    # --- a scope -------------------------------------------------------------------------------

    def _layers(
        self,
        layers: tuple[Layer, ...],
        prefix: str,
        names: Names,
        only: Known | None,
        *,
        sequence: bool,
    ) -> tuple[tuple[Node[Op] | Scope, ...], Known | None]:
        """Build the layers of one scope; returns its children and the last value.

        Args:
            layers: of the scope.
            prefix: of its layers' full names.
            names: of the scope, its inputs given.
            only: its only input, None where it has several.
            sequence: whether it is one, where nothing can be wired.
        """
        given = own_names(layers, sequence=sequence)
        for layer, name in zip(layers, given, strict=True):
            names.later.setdefault(name, layer)
        children: list[Node[Op] | Scope] = []
        value: Known | None = only
        for layer, name in zip(layers, given, strict=True):
            path = f"{prefix}{name}"
            sources = self._sources(layer, names, value, sequence=sequence)
            child: Node[Op] | Scope | None
            if layer.op is None:
                value, child = self._sequence(layer, path, sources)
            else:
                node = self._node(layer, layer.op, path, sources, names, sequence=sequence)
                value, child = (UNKNOWN, None) if node is None else (node, node)
            if child is not None:
                children.append(child)
            give_name(self.faults, names, layer, name, value)
        return tuple(children), value

    def _sources(
        self, layer: Layer, names: Names, above: Known | None, *, sequence: bool
    ) -> tuple[Known, ...]:
        """The inputs of a layer: what `from` names, or the layer above."""
        path: Path = (*layer.fields, "from")
        if layer.sources is None:
            if above is not None:
                return (above,)
            self.faults.add(
                "from-required",
                layer.fields,
                "the first layer has to say where its input comes from, "
                "as the network has several inputs",
                help="give `from:` one of " + ", ".join(f"`{name}`" for name in names.inputs),
                key=True,
            )
            return (UNKNOWN,)
        if sequence:
            self.faults.add(
                "from-in-sequence",
                path,
                "a layer inside a `sequence` cannot say where its input comes from",
                help="a sequence is a chain; take the layer out of it",
                key=True,
            )
            return (UNKNOWN,)
        several = isinstance(self._written(layer).get("from"), tuple)
        return tuple(
            look_up(self.faults, names, name, (*path, i) if several else path, reader=layer)
            for i, name in enumerate(layer.sources)
        )

    def _written(self, layer: Layer) -> dict[str, object]:
        """The fields of a layer as they stand in the document."""
        value: object = self.document.value
        for part in layer.fields:
            if isinstance(value, dict):
                value = value.get(str(part))
            elif isinstance(value, tuple):
                value = value[int(part)]
            else:  # the layer is a bare word
                return {}
        return value if isinstance(value, dict) else {}

    def _sequence(
        self, layer: Layer, path: str, sources: tuple[Known, ...]
    ) -> tuple[Known, Scope | None]:
        if layer.share is not None:
            self.faults.add(
                "cannot-share",
                (*layer.fields, "share"),
                "a sequence has no parameters of its own to share",
                help="share its layers, outside of a sequence",
                key=True,
            )
        if len(sources) != 1:
            self.faults.add(
                "wrong-arity",
                (*layer.fields, "from"),
                f"a sequence has one input, and `from` names {len(sources)}",
            )
            return UNKNOWN, None
        (source,) = sources
        children, last = self._layers(layer.layers, f"{path}.", Names(), source, sequence=True)
        if last is None or isinstance(last, Unknown) or isinstance(source, Unknown):
            return UNKNOWN, None
        if not self._expected(layer, path, last.shape):
            return UNKNOWN, None
        scope = Scope(
            path=path,
            kind="sequence",
            block=None,
            arguments=(),
            inputs=(("input", source),),
            outputs=(("output", last),),
            children=children,
            origin=self._origin(layer),
        )
        return last, scope

    # --- one layer -----------------------------------------------------------------------------

    def _node(
        self,
        layer: Layer,
        op: Op,
        path: str,
        sources: tuple[Known, ...],
        names: Names,
        *,
        sequence: bool,
    ) -> Node[Op] | None:
        least, most = op.arity
        if len(sources) < least or (most is not None and len(sources) > most):
            self._arity(layer, op, len(sources), sequence=sequence)
            return None
        inputs = [value for value in sources if not isinstance(value, Unknown)]
        if len(inputs) < len(sources):
            if layer.share is not None and not sequence:  # a wrong name there is another fault
                look_up(self.faults, names, layer.share, (*layer.fields, "share"), reader=layer)
            return None
        try:
            inferred = op.infer(*(value.shape for value in inputs))
        except Reject as reject:
            self._reject(layer, reject, inputs)
            return None
        for warning in inferred.warnings:
            where, key = self._field(layer, warning.field)
            self.faults.add(
                "unread", where, warning.message, help=warning.help, key=key, severity="warning"
            )
        fine = self._limits(layer, path, inferred)
        fine &= self._expected(layer, path, inferred.shape)
        owner = None
        if layer.share is not None:
            owner = self._owner(layer, layer.share, names, inferred, sequence=sequence)
            fine &= owner is not None
        if not fine:
            return None
        node = Node(
            id=path,
            op=op,
            inputs=tuple(inputs),
            shape=inferred.shape,
            params=inferred.params if owner is None else owner.params,
            owner=owner,
            origin=self._origin(layer),
        )
        self.rows.append((path, op.key, node.shape))
        self.layer_of[path] = layer
        return node

    def _arity(self, layer: Layer, op: Op, count: int, *, sequence: bool) -> None:
        least, most = op.arity
        wanted = f"{least} or more inputs" if most is None else f"{least} inputs"
        given = layer.sources is not None
        if sequence:
            help = "a sequence is a chain; take the layer out of it"
        elif least > 1:
            help = "name them: `from: [first, second]`"
        else:
            help = ""
        self.faults.add(
            "wrong-arity",
            (*layer.fields, "from") if given else layer.fields,
            f"`{op.key}` takes {'1 input' if wanted == '1 inputs' else wanted}, "
            f"and this one has {count}",
            help=help,
            key=not given,
        )

    def _origin(self, layer: Layer) -> Origin:
        fields = {name: self.document.span((*layer.fields, name)) for name in self._written(layer)}
        return Origin(self.document.span(layer.path), fields)

    def _field(self, layer: Layer, field: str | None) -> tuple[Path, bool]:
        """The path of a field's value; where it is not written, that of the op, as a key."""
        if field is not None and field in self._written(layer):
            return (*layer.fields, field), False
        return layer.fields, True

    def _reject(self, layer: Layer, reject: Reject, inputs: list[Value]) -> None:
        path, key = self._field(layer, reject.field)
        secondary: tuple[Label, ...] = ()
        if len(inputs) > 1:
            secondary = tuple(
                Label(value.origin.span, f"`{value.id}` is {show(value.shape)}")
                for value in inputs
                if value.origin is not None
            )
        self.faults.add(
            "shape-mismatch",
            path,
            reject.message,
            help=reject.help,
            key=key,
            secondary=secondary,
            notes=(self._table(),),
        )

    def _table(self) -> str:
        rows = self.rows[-SHAPE_TABLE_ROWS:]
        width = max((len(name) for name, _, _ in rows), default=0)
        ops = max((len(key) for _, key, _ in rows), default=0)
        lines = [f"{name:<{width}}  {key:<{ops}}  {show(shape)}" for name, key, shape in rows]
        if len(self.rows) > len(rows):
            lines.insert(0, f"... {len(self.rows) - len(rows)} more")
        return "shapes up to here:\n" + "\n".join(lines)

    def _limit(
        self, elements: int, what: str, shape: Shape, path: Path, *, key: bool = False
    ) -> bool:
        if elements <= limits.MOST_ELEMENTS:
            return True
        self.faults.add(
            "too-large",
            path,
            f"{what} has {elements:,} elements ({show(shape)}), "
            f"above the limit of {limits.MOST_ELEMENTS:,}",
            key=key,
        )
        return False

    def _limits(self, layer: Layer, path: str, inferred: Inferred) -> bool:
        shape, at = inferred.shape, layer.fields
        fine = self._limit(math.prod(shape), f"the output of `{path}`", shape, at, key=True)
        return fine and all(
            self._limit(param.size, f"`{path}.{param.name}`", param.shape, at, key=True)
            for param in inferred.params
        )

    def _expected(self, layer: Layer, path: str, shape: Shape) -> bool:
        expect = layer.expect
        if expect is None or expect == shape:
            return True
        self.faults.add(
            "unexpected-shape",
            (*layer.fields, "expect"),
            f"the output of `{path}` is {show(shape)}, and {show(expect)} is expected",
            notes=(self._table(),),
        )
        return False

    # --- sharing -------------------------------------------------------------------------------

    def _owner(
        self, layer: Layer, name: str, names: Names, inferred: Inferred, *, sequence: bool
    ) -> Node[Op] | None:
        """The node whose parameters a layer shares, None with a fault."""
        path: Path = (*layer.fields, "share")
        if sequence:
            self.faults.add(
                "cannot-share",
                path,
                "a layer inside a `sequence` cannot share: it would get two state-dict keys",
                help="take the layer out of the sequence",
                key=True,
            )
            return None
        target = look_up(self.faults, names, name, path, reader=layer)
        if isinstance(target, Unknown):
            return None
        other = names.layers.get(name)
        if other is None or isinstance(target, Input):
            self._cannot_share(path, f"{quoted(name)} is an input")
        elif other.op is None:
            self._cannot_share(path, f"{quoted(name)} is a sequence, and no single layer", other)
        elif target.op != layer.op:
            self._cannot_share(path, f"{quoted(name)} is another op or has other fields", other)
        elif not inferred.params:
            self._cannot_share(path, f"`{target.op.key}` has no parameters to share")
        elif [p.shape for p in target.params] != [p.shape for p in inferred.params]:
            own = ", ".join(f"{p.name} {show(p.shape)}" for p in inferred.params)
            others = ", ".join(f"{p.name} {show(p.shape)}" for p in target.params)
            message = f"{quoted(name)} has {others}, and this layer needs {own}"
            self._cannot_share(path, message, other)
        elif target.op.one_rank and len(target.shape) != len(inferred.shape):
            message = f"`{target.op.key}` serves inputs of one number of axes, and these are "
            message += f"{show(target.shape)} and {show(inferred.shape)}"
            self._cannot_share(path, message, other)
        else:
            return target if target.owner is None else target.owner
        return None

    def _cannot_share(self, path: Path, message: str, other: Layer | None = None) -> None:
        secondary = () if other is None else (name_label(self.faults, other, "this one"),)
        self.faults.add("cannot-share", path, message, secondary=secondary)

    # --- the whole graph -----------------------------------------------------------------------

    def _warn_of_null_gradients(self, graph: Graph) -> None:
        for name in sorted(graph.null_gradients()):
            id = name.rpartition(".")[0]
            layer = self.layer_of[id]
            self.faults.add(
                "bias-before-norm",
                layer.fields,
                f"the bias of `{id}` has no effect: the batch norm behind it takes it away",
                help="`bias: false`" if layer.op and "bias" in layer.op.fields() else "",
                key=True,
                severity="warning",
            )


__all__ = ["Built", "build"]
