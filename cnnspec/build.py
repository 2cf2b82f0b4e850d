"""Spec -> Graph: names are resolved, shapes inferred, and every fault of that phase reported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from cnnspec.diagnostics import Diagnostic, Label, did_you_mean
from cnnspec.document import Path
from cnnspec.graph import MOST_ELEMENTS, Graph, Input, Node, Origin, Output, Scope, Value
from cnnspec.ops.base import Inferred, Op, Reject, Shape, show
from cnnspec.schema import Faults, Layer, Spec, quoted, training_of
from cnnspec.training import Loss, Training

SHAPE_TABLE_ROWS = 20


@dataclass(frozen=True, slots=True)
class Built:
    """A graph, and the warnings found on the way."""

    graph: Graph
    warnings: tuple[Diagnostic, ...] = ()


def build(spec: Spec) -> Built:
    """Resolve names and infer shapes.

    Raises:
        SpecError: with every fault of names, wires and shapes.
    """
    return _Builder(spec).build()


class _Unknown:
    """Stands for a value whose layer has a fault, so that its readers report nothing more."""


UNKNOWN = _Unknown()
Known = Value | _Unknown


@dataclass(slots=True)
class _Names:
    """The names of one scope: what each stands for, and where it was given."""

    values: dict[str, Known] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    scopes: dict[str, Scope] = field(default_factory=dict)
    later: dict[str, Layer] = field(default_factory=dict)


class _Builder:
    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.document = spec.document
        self.faults = Faults(spec.document)
        self.rows: list[tuple[str, str, Shape]] = []
        self.read: set[str] = set()
        self.layer_of: dict[str, Layer] = {}

    def build(self) -> Built:
        inputs = tuple(self._input(name, shape) for name, shape in self.spec.inputs)
        names = _Names()
        for entry in inputs:
            names.values[entry.name] = entry
        only = inputs[0] if len(inputs) == 1 else None
        children, last = self._layers(self.spec.layers, "", names, only, sequence=False)
        outputs = self._outputs(names, last)
        training = self._training(outputs)
        if not any(d.severity == "error" for d in self.faults.found):
            self._unused(inputs, children, outputs)
        self.faults.raise_any()
        root = Scope(
            path="",
            kind="network",
            block=None,
            arguments=(),
            inputs=tuple((i.name, i) for i in inputs),
            outputs=tuple((o.name, o.value) for o in outputs),
            children=tuple(children),
        )
        graph = Graph(self.spec.name, inputs, tuple(outputs), root, training, self.spec.seed)
        self._null_gradients(graph)
        graph.verify()
        return Built(graph, tuple(self.faults.found))

    # --- inputs and outputs --------------------------------------------------------------------

    def _input(self, name: str, shape: Shape) -> Input:
        named = isinstance(self.document.value, dict) and isinstance(
            self.document.value.get("input"), dict
        )
        path: Path = ("input", name) if named else ("input",)
        self._limit(math.prod(shape), f"input `{name}`", show(shape), path)
        self.rows.append((name, "input", shape))
        return Input(name, shape, Origin(self.document.span(path)))

    def _outputs(self, names: _Names, last: Known | None) -> list[Output]:
        if self.spec.outputs is None:
            return [] if last is None or isinstance(last, _Unknown) else [Output("output", last)]
        found = []
        for entry in self.spec.outputs:
            value = self._lookup(entry.layer, names, entry.path)
            if isinstance(value, Input):
                self.faults.add(
                    lambda at: Diagnostic(
                        "output-is-input", "an output is the value of a layer", at
                    ),
                    entry.path,
                )
            elif not isinstance(value, _Unknown):
                found.append(Output(entry.name, value))
        return found

    def _training(self, outputs: list[Output]) -> Training | None:
        section = self.spec.train
        if section is None or not outputs:
            return None
        path: Path = ("train", "loss")
        names = [o.name for o in outputs]
        losses: Mapping[str, Loss]
        if isinstance(section.loss, Loss):
            if len(names) > 1:
                self.faults.add(
                    lambda at: Diagnostic(
                        "loss-per-output",
                        f"the network has {len(names)} outputs, and `loss` is for one",
                        at,
                        help="give a mapping: "
                        + ", ".join(f"`{n}: {section.loss.key}`" for n in names),  # type: ignore[union-attr]
                    ),
                    path,
                )
                return None
            losses = {names[0]: section.loss}
        else:
            for name in section.loss:
                if name not in names:
                    self.faults.add(
                        lambda at, name=name: Diagnostic(
                            "unknown-output",
                            f"there is no output {quoted(name)}",
                            at,
                            help=did_you_mean(name, names),
                        ),
                        (*path, name),
                        key=True,
                    )
            missing = [n for n in names if n not in section.loss]
            if missing:
                self.faults.add(
                    lambda at: Diagnostic(
                        "loss-per-output",
                        "there is no loss for " + ", ".join(f"output `{n}`" for n in missing),
                        at,
                    ),
                    path,
                    key=True,
                )
                return None
            losses = {name: section.loss[name] for name in names}
        return training_of(section, losses)

    # --- layers --------------------------------------------------------------------------------

    def _layers(
        self,
        layers: tuple[Layer, ...],
        prefix: str,
        names: _Names,
        only: Known | None,
        *,
        sequence: bool,
    ) -> tuple[list[Node[Op] | Scope], Known | None]:
        """Build the layers of one scope; returns its children and the last value."""
        given = self._own_names(layers, names, sequence=sequence)
        for layer, name in zip(layers, given, strict=True):
            names.later.setdefault(name, layer)
        children: list[Node[Op] | Scope] = []
        previous: Known | None = only
        if only is not None and "input" not in names.values:
            names.values["input"] = only
        for layer, name in zip(layers, given, strict=True):
            path = f"{prefix}{name}"
            sources = self._sources(layer, names, previous, sequence=sequence)
            if layer.op is None:
                value, child = self._sequence(layer, path, sources)
            else:
                value = self._node(layer, path, sources, names, sequence=sequence)
                child = value if isinstance(value, Node) else None
            if child is not None:
                children.append(child)
            previous = value
            if name in names.layers or (name in names.values and name != "input"):
                self._duplicate(layer, name, names)
            else:
                names.values[name] = value
                names.layers[name] = layer
        return children, previous

    def _own_names(self, layers: tuple[Layer, ...], names: _Names, *, sequence: bool) -> list[str]:
        ordinals: dict[str, int] = {}
        found = []
        for position, layer in enumerate(layers):
            if layer.name is not None:
                found.append(layer.name)
            elif sequence:
                found.append(str(position))
            else:
                ordinals[layer.key] = ordinals.get(layer.key, 0) + 1
                found.append(f"{layer.key}{ordinals[layer.key]}")
        return found

    def _duplicate(self, layer: Layer, name: str, names: _Names) -> None:
        other = names.layers.get(name)
        where = self._name_path(layer)
        if other is None:
            self.faults.add(
                lambda at: Diagnostic("duplicate-name", f"`{name}` is the name of an input", at),
                where,
            )
            return
        first = Label(self.document.span(self._name_path(other)), "first given here")
        ordinal = "" if layer.name and other.name else " (an unnamed layer is its op and ordinal)"
        self.faults.add(
            lambda at: Diagnostic(
                "duplicate-name",
                f"two layers of this scope are called `{name}`{ordinal}",
                at,
                secondary=(first,),
            ),
            where,
        )

    def _name_path(self, layer: Layer) -> Path:
        return (*layer.fields, "name") if layer.name is not None else layer.path

    def _sources(
        self, layer: Layer, names: _Names, previous: Known | None, *, sequence: bool
    ) -> tuple[Known, ...]:
        path: Path = (*layer.fields, "from")
        if layer.sources is not None:
            if sequence:
                self.faults.add(
                    lambda at: Diagnostic(
                        "from-in-sequence",
                        "a layer inside a `sequence` cannot say where its input comes from",
                        at,
                        help="a sequence is a chain; take the layer out of it",
                    ),
                    path,
                    key=True,
                )
                return (UNKNOWN,)
            several = isinstance(self._written(path), tuple)
            return tuple(
                self._lookup(name, names, (*path, i) if several else path)
                for i, name in enumerate(layer.sources)
            )
        if isinstance(self._written(layer.fields), dict) and "from" in self._written(layer.fields):  # type: ignore[operator]
            return (UNKNOWN,)  # its form was wrong, and has been reported
        if previous is None:
            inputs = ", ".join(f"`{name}`" for name, _ in self.spec.inputs)
            self.faults.add(
                lambda at: Diagnostic(
                    "from-required",
                    "the first layer has to say where its input comes from, "
                    "as the network has several inputs",
                    at,
                    help=f"give `from:` one of {inputs}",
                ),
                layer.path,
            )
            return (UNKNOWN,)
        return (previous,)

    def _written(self, path: Path) -> object:
        value: object = self.document.value
        for part in path:
            if isinstance(value, dict):
                value = value.get(str(part))
            elif isinstance(value, tuple) and isinstance(part, int):
                value = value[part]
            else:
                return None
        return value

    def _lookup(self, name: str, names: _Names, path: Path) -> Known:
        if name in names.values:
            value = names.values[name]
            if not isinstance(value, _Unknown):
                self.read.add(value.id)
            return value
        if name in names.later:
            later = Label(self.document.span(self._name_path(names.later[name])), "it comes here")
            self.faults.add(
                lambda at: Diagnostic(
                    "later-name",
                    f"`{name}` comes later; a layer reads layers above it",
                    at,
                    secondary=(later,),
                ),
                path,
            )
        elif name == "input":
            self.faults.add(
                lambda at: Diagnostic(
                    "unknown-name",
                    "`input` is a scope's only input, and this one has several",
                    at,
                    help="there is " + ", ".join(f"`{n}`" for n, _ in self.spec.inputs),
                ),
                path,
            )
        else:
            self.faults.add(
                lambda at: Diagnostic(
                    "unknown-name",
                    f"there is no layer {quoted(name)} above",
                    at,
                    help=did_you_mean(name, list(names.values)),
                ),
                path,
            )
        return UNKNOWN

    # --- one layer -----------------------------------------------------------------------------

    def _sequence(
        self, layer: Layer, path: str, sources: tuple[Known, ...]
    ) -> tuple[Known, Scope | None]:
        if layer.share is not None:
            self.faults.add(
                lambda at: Diagnostic(
                    "cannot-share", "a sequence has no parameters of its own to share", at
                ),
                (*layer.fields, "share"),
                key=True,
            )
        if len(sources) != 1:
            self.faults.add(
                lambda at: Diagnostic(
                    "wrong-arity", f"a sequence has one input, and `from` names {len(sources)}", at
                ),
                (*layer.fields, "from"),
            )
            return UNKNOWN, None
        source = sources[0]
        children, last = self._layers(layer.layers, f"{path}.", _Names(), source, sequence=True)
        if last is None or isinstance(last, _Unknown) or isinstance(source, _Unknown):
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
            children=tuple(children),
            origin=self._origin(layer),
        )
        return last, scope

    def _node(
        self,
        layer: Layer,
        path: str,
        sources: tuple[Known, ...],
        names: _Names,
        *,
        sequence: bool,
    ) -> Known:
        op = layer.op
        if op is None:
            return UNKNOWN
        least, most = op.arity
        if not least <= len(sources) and (most is None or len(sources) <= most):
            self._arity(layer, op, len(sources))
            return UNKNOWN
        if most is not None and len(sources) > most:
            self._arity(layer, op, len(sources))
            return UNKNOWN
        inputs = [value for value in sources if not isinstance(value, _Unknown)]
        if len(inputs) < len(sources):
            self._share(layer, names, None, sequence=sequence)
            return UNKNOWN
        try:
            inferred = op.infer(*(value.shape for value in inputs))
        except Reject as reject:
            self._reject(layer, reject, inputs)
            return UNKNOWN
        for warning in inferred.warnings:
            self._reject(layer, warning, inputs, warn=True)
        fine = self._limits(layer, path, inferred)
        fine &= self._expected(layer, path, inferred.shape)
        owner = self._share(layer, names, inferred, sequence=sequence)
        if not fine or isinstance(owner, _Unknown):
            return UNKNOWN
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

    def _arity(self, layer: Layer, op: Op, count: int) -> None:
        least, most = op.arity
        wanted = f"{least} or more" if most is None else str(least)
        inputs = "input" if wanted == "1" else "inputs"
        given = layer.sources is not None
        self.faults.add(
            lambda at: Diagnostic(
                "wrong-arity",
                f"`{op.key}` takes {wanted} {inputs}, and this one has {count}",
                at,
                help="" if given and least == 1 else "name them: `from: [first, second]`",
            ),
            (*layer.fields, "from") if given else layer.path,
        )

    def _origin(self, layer: Layer) -> Origin:
        span = self.document.span(layer.path)
        written = self._written(layer.fields)
        fields = {}
        if isinstance(written, dict):
            fields = {name: self.document.span((*layer.fields, name)) for name in written}
        return Origin(span, fields)

    def _reject(
        self, layer: Layer, reject: Reject, inputs: list[Value], *, warn: bool = False
    ) -> None:
        written = self._written(layer.fields)
        path = layer.path
        if reject.field is not None and isinstance(written, dict) and reject.field in written:
            path = (*layer.fields, reject.field)
        notes = () if warn else (self._table(),)
        secondary = []
        if len(inputs) > 1 and not warn:
            for value in inputs:
                if value.origin is not None:
                    remark = f"`{value.id}` is {show(value.shape)}"
                    secondary.append(Label(value.origin.span, remark))
        code = "unread" if warn else "shape-mismatch"
        self.faults.add(
            lambda at: Diagnostic(
                code,
                reject.message,
                at,
                secondary=tuple(secondary),
                notes=notes,
                help=reject.help,
                severity="warning" if warn else "error",
            ),
            path,
            key=path == layer.path,
        )

    def _table(self) -> str:
        rows = self.rows[-SHAPE_TABLE_ROWS:]
        width = max((len(name) for name, _, _ in rows), default=0)
        ops = max((len(key) for _, key, _ in rows), default=0)
        lines = [f"{name:<{width}}  {key:<{ops}}  {show(shape)}" for name, key, shape in rows]
        if len(self.rows) > len(rows):
            lines.insert(0, f"... {len(self.rows) - len(rows)} more")
        return "shapes up to here:\n" + "\n".join(lines)

    def _limit(self, elements: int, what: str, shape: str, path: Path) -> bool:
        if elements <= MOST_ELEMENTS:
            return True
        self.faults.add(
            lambda at: Diagnostic(
                "too-large",
                f"{what} has {elements:,} elements ({shape}), above the limit of {MOST_ELEMENTS:,}",
                at,
            ),
            path,
        )
        return False

    def _limits(self, layer: Layer, path: str, inferred: Inferred) -> bool:
        fine = self._limit(
            math.prod(inferred.shape), f"the output of `{path}`", show(inferred.shape), layer.path
        )
        for param in inferred.params:
            what = f"`{path}.{param.name}`"
            fine &= self._limit(param.size, what, show(param.shape), layer.path)
        return fine

    def _expected(self, layer: Layer, path: str, shape: Shape) -> bool:
        if layer.expect is None or layer.expect == shape:
            return True
        self.faults.add(
            lambda at: Diagnostic(
                "unexpected-shape",
                f"the output of `{path}` is {show(shape)}, and {show(layer.expect or ())} is expected",
                at,
                notes=(self._table(),),
            ),
            (*layer.fields, "expect"),
        )
        return False

    def _share(
        self, layer: Layer, names: _Names, inferred: Inferred | None, *, sequence: bool
    ) -> Node[Op] | _Unknown | None:
        if layer.share is None:
            return None
        path: Path = (*layer.fields, "share")
        if sequence:
            self.faults.add(
                lambda at: Diagnostic(
                    "cannot-share",
                    "a layer inside a `sequence` cannot share: it would get two state-dict keys",
                    at,
                    help="take the layer out of the sequence",
                ),
                path,
                key=True,
            )
            return UNKNOWN
        target = self._lookup(layer.share, names, path)
        if not isinstance(target, Node) or inferred is None:
            if isinstance(target, Input):
                self._cannot_share(path, f"`{layer.share}` is an input")
            return UNKNOWN
        named = names.layers.get(layer.share)
        if named is None or named.op is None:
            self._cannot_share(path, f"`{layer.share}` is not a single layer")
        elif target.op != layer.op:
            self._cannot_share(
                path,
                f"`{layer.share}` is another op or has other fields",
                Label(self.document.span(named.path), "this one"),
            )
        elif not inferred.params:
            self._cannot_share(path, f"`{target.op.key}` has no parameters to share")
        elif [p.shape for p in target.params] != [p.shape for p in inferred.params]:
            own = ", ".join(f"{p.name} {show(p.shape)}" for p in inferred.params)
            others = ", ".join(f"{p.name} {show(p.shape)}" for p in target.params)
            self._cannot_share(path, f"`{layer.share}` has {others}, and this layer needs {own}")
        else:
            return target if target.owner is None else target.owner
        return UNKNOWN

    def _cannot_share(self, path: Path, message: str, *secondary: Label) -> None:
        self.faults.add(
            lambda at: Diagnostic("cannot-share", message, at, secondary=secondary), path
        )

    # --- the whole graph -----------------------------------------------------------------------

    def _unused(
        self, inputs: tuple[Input, ...], children: list[Node[Op] | Scope], outputs: list[Output]
    ) -> None:
        """Report values that nothing reads, so that one message is given for a dead branch."""
        scope = Scope("", "network", None, (), (), (), tuple(children))
        nodes = list(scope.nodes())
        read = {value.id for node in nodes for value in node.inputs}
        read |= {output.value.id for output in outputs}
        for node in nodes:
            if node.id not in read:
                layer = self.layer_of[node.id]
                self.faults.add(
                    lambda at, node=node: Diagnostic(
                        "unused-layer",
                        f"`{node.id}` reaches no output",
                        at,
                        help="read it with `from:`, name it in `outputs:`, or take it out",
                    ),
                    layer.path,
                    key=True,
                )
        for entry in inputs:
            if entry.id not in read and entry.origin is not None:
                label = Label(entry.origin.span)
                self.faults.found.append(
                    Diagnostic("unused-input", f"input `{entry.name}` reaches no output", label)
                )

    def _null_gradients(self, graph: Graph) -> None:
        for name in sorted(graph.null_gradients()):
            id = name.rpartition(".")[0]
            layer = self.layer_of[id]
            self.faults.add(
                lambda at, id=id: Diagnostic(
                    "bias-before-norm",
                    f"the bias of `{id}` has no effect: the batch norm behind it takes it away",
                    at,
                    help="`bias: false`",
                    severity="warning",
                ),
                layer.path,
                key=True,
            )


__all__ = ["Built", "build"]
