"""One layer to one node: its shape, its parameters, and whose they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from cnnspec import graph as limits
from cnnspec.build_sharing import Twin, owner_of
from cnnspec.diagnostics import Label
from cnnspec.document import Path
from cnnspec.faults import Faults
from cnnspec.graph import Node, Origin
from cnnspec.instances import Which, places
from cnnspec.ops.base import Inferred, Op, Reject, Shape, show
from cnnspec.spec import Layer
from cnnspec.treatment import UNTREATED, Treatment, report_untreatable
from cnnspec.wires import Known, Names, Unknown, look_up

SHAPE_TABLE_ROWS = 20
NOTHING: Mapping[str, str] = {}


@dataclass(slots=True, eq=False)
class Place:
    """Where layers are being built: the network, an instance of a block, or a sequence.

    Attributes:
        faults: for the document that the layers stand in.
        names: of the scope.
        values: of the parameters that expressions read here.
        prefix: of the layers' full names.
        sequence: whether it is one, where nothing can be wired.
        twin: the scope whose parameters the layers of this one share.
        treatment: of parameters in training, as a block around says.
    """

    faults: Faults
    names: Names
    values: Mapping[str, object] = field(default_factory=dict)
    prefix: str = ""
    sequence: bool = False
    twin: Twin | None = None
    treatment: Treatment = UNTREATED


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """A layer for given parameters, about to be built.

    Attributes:
        layer: as written.
        path: its full name.
        values: of the parameters that its expressions read.
        which: whether it is the first or last of several.
        when: its condition, if that is an expression and it is not repeated.
        twin: what its parameters are shared with.
        treatment: of its parameters in training.
    """

    layer: Layer
    path: str
    values: Mapping[str, object]
    which: Which = ()
    when: str | None = None
    twin: Twin | None = None
    treatment: Treatment = UNTREATED


@dataclass(slots=True, eq=False)
class Nodes:
    """Builds nodes, and remembers what diagnostics need to know of them.

    Attributes:
        rows: name, op and shape of every value so far.
        origins: the layer of each node, and the faults to report it with.
        missed: by id of a value, the `when` that has taken out a layer which would read it.
    """

    rows: list[tuple[str, str, Shape]] = field(default_factory=list)
    origins: dict[str, tuple[Faults, Layer]] = field(default_factory=dict)
    missed: dict[str, Label] = field(default_factory=dict)
    _spans: dict[tuple[int, Which], Origin] = field(default_factory=dict)

    def node(
        self,
        place: Place,
        instance: Instance,
        op: Op,
        sources: tuple[Known, ...],
        expressions: Mapping[str, str] = NOTHING,
    ) -> Node[Op] | None:
        """The node of a layer, None with a fault."""
        layer, faults, path = instance.layer, place.faults, instance.path
        least, most = op.arity
        if len(sources) < least or (most is not None and len(sources) > most):
            self.wrong_arity(place, layer, type(op), len(sources))
            return None
        inputs = [value for value in sources if not isinstance(value, Unknown)]
        if len(inputs) < len(sources):
            self._look_for_share(place, layer)
            return None
        try:
            inferred = op.infer(*(value.shape for value in inputs))
        except Reject as reject:
            self.reject(faults, instance, reject, inputs)
            return None
        for warning in inferred.warnings:
            where, key = self._field(faults, instance, warning.field)
            faults.add(
                "unread", where, warning.message, help=warning.help, key=key, severity="warning"
            )
        fine = self._limits(faults, layer, path, inferred)
        owner = None
        if instance.twin is not None:
            owner = owner_of(instance.twin, path, op, inputs[0].shape, inferred)
            fine &= owner is not None
        if not fine:
            return None
        report_untreatable(faults, layer, inferred.params)
        treatment = instance.treatment
        node = Node(
            id=path,
            op=op,
            inputs=tuple(inputs),
            shape=inferred.shape,
            params=inferred.params if owner is None else owner.params,
            owner=owner,
            expressions=expressions,
            when=instance.when,
            trainable=treatment.trainable,
            regularize=treatment.regularize,
            constrain=treatment.constrain,
            origin=self.origin(faults, instance),
        )
        self.rows.append((path, op.key, node.shape))
        self.origins[path] = (faults, layer)
        if len(self.origins) > limits.MOST_NODES:  # the parts of a split were not counted before
            message = f"the network has more than {limits.MOST_NODES:,} layers"
            faults.add("too-many-layers", layer.fields, message, key=True)
            faults.raise_any()
        return node

    def written(self, id: str) -> tuple[Faults, Layer]:
        """The layer of a node, and where to report it."""
        return self.origins[id]

    def miss(self, faults: Faults, layer: Layer, sources: tuple[Known, ...]) -> None:
        """Note the values that a layer would read if its `when` had not taken it out."""
        for value in sources:
            if not isinstance(value, Unknown):
                span = faults.document.span((*layer.fields, "when"))
                self.missed[value.id] = Label(span, "this takes out a layer that would read it")

    def _look_for_share(self, place: Place, layer: Layer) -> None:
        """Where the inputs are at fault: a wrong name there is another fault."""
        if isinstance(layer.share, str) and not place.sequence:
            at = (*layer.fields, "share")
            look_up(place.faults, place.names, layer.share, at, reader=layer)

    def wrong_arity(self, place: Place, layer: Layer, op: type[Op], count: int) -> None:
        """Report a number of inputs that an op does not take."""
        least, most = op.arity
        wanted = f"{least} or more inputs" if most is None else f"{least} inputs"
        given = layer.sources is not None
        if place.sequence:
            help = "a sequence is a chain; take the layer out of it"
        elif least > 1:
            help = "name them: `from: [first, second]`"
        else:
            help = ""
        place.faults.add(
            "wrong-arity",
            (*layer.fields, "from") if given else layer.fields,
            f"`{op.key}` takes {'1 input' if wanted == '1 inputs' else wanted}, "
            f"and this one has {count}",
            help=help,
            key=not given,
        )

    # --- places --------------------------------------------------------------------------------

    def origin(self, faults: Faults, instance: Instance) -> Origin:
        """Where a layer stands, and where the blocks around it are used."""
        layer = instance.layer
        key = (id(layer), instance.which)
        if key not in self._spans:
            document = faults.document
            paths: dict[str, Path] = {
                name: (*layer.fields, name) for name in written_fields(faults, layer)
            }
            paths |= places(layer, instance.which)
            fields = {name: document.span(path) for name, path in paths.items()}
            self._spans[key] = Origin(document.span(layer.path), fields)
        found = self._spans[key]
        if not faults.expanded:
            return found
        return Origin(found.span, found.fields, faults.expanded)

    def _field(self, faults: Faults, instance: Instance, field: str | None) -> tuple[Path, bool]:
        """The path of a field's value; where it is not written, that of the op, as a key."""
        layer = instance.layer
        if field is not None:
            own = places(layer, instance.which).get(field)
            if own is not None:
                return own, False
            if field in written_fields(faults, layer):
                return (*layer.fields, field), False
        return layer.fields, True

    # --- shapes --------------------------------------------------------------------------------

    def reject(
        self, faults: Faults, instance: Instance, reject: Reject, inputs: list[limits.Value]
    ) -> None:
        """Report what a shape rule does not accept."""
        path, key = self._field(faults, instance, reject.field)
        secondary: tuple[Label, ...] = ()
        if len(inputs) > 1:
            secondary = tuple(
                Label(value.origin.span, f"`{value.id}` is {show(value.shape)}")
                for value in inputs
                if value.origin is not None
            )
        faults.add(
            "shape-mismatch",
            path,
            reject.message,
            help=reject.help,
            key=key,
            secondary=secondary,
            notes=(self._table(),),
        )

    def expected(
        self, faults: Faults, layer: Layer, path: str, expect: Shape, shape: Shape
    ) -> bool:
        """Whether an output has the shape that it is stated to have."""
        if expect == shape:
            return True
        faults.add(
            "unexpected-shape",
            (*layer.fields, "expect"),
            f"the output of `{path}` is {show(shape)}, and {show(expect)} is expected",
            notes=(self._table(),),
        )
        return False

    def fits(
        self, faults: Faults, what: str, shape: Shape, path: Path, *, key: bool = False
    ) -> bool:
        """Whether a tensor is not too large; reported if it is."""
        elements = math.prod(shape)
        if elements <= limits.MOST_ELEMENTS:
            return True
        faults.add(
            "too-large",
            path,
            f"{what} has {elements:,} elements ({show(shape)}), "
            f"above the limit of {limits.MOST_ELEMENTS:,}",
            key=key,
        )
        return False

    def _limits(self, faults: Faults, layer: Layer, path: str, inferred: Inferred) -> bool:
        at = layer.fields
        fine = self.fits(faults, f"the output of `{path}`", inferred.shape, at, key=True)
        return fine and all(
            self.fits(faults, f"`{path}.{param.name}`", param.shape, at, key=True)
            for param in inferred.params
        )

    def _table(self) -> str:
        rows = self.rows[-SHAPE_TABLE_ROWS:]
        width = max((len(name) for name, _, _ in rows), default=0)
        ops = max((len(key) for _, key, _ in rows), default=0)
        lines = [f"{name:<{width}}  {key:<{ops}}  {show(shape)}" for name, key, shape in rows]
        if len(self.rows) > len(rows):
            lines.insert(0, f"... {len(self.rows) - len(rows)} more")
        return "shapes up to here:\n" + "\n".join(lines)


def written_fields(faults: Faults, layer: Layer) -> Mapping[str, object]:
    """The fields of a layer as they stand in the document; nothing for a bare word."""
    value: object = faults.document.value
    for part in layer.fields:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, tuple):
            value = value[int(part)]
        else:  # the layer is a bare word
            return {}
    return value if isinstance(value, dict) else {}


__all__ = ["Instance", "Nodes", "Place", "written_fields"]
