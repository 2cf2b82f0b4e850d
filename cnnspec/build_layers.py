"""The layers of a scope: blocks are expanded, repeats unrolled, names given and wires drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cnnspec.build_nodes import NOTHING, Instance, Place
from cnnspec.build_sharing import Twin
from cnnspec.build_wiring import Entry, Wiring
from cnnspec.graph import Absent, Argument, Input, Node, Scope
from cnnspec.instances import overrides, used_at
from cnnspec.ops import lookup
from cnnspec.ops.base import Op, Reject
from cnnspec.quote import quoted
from cnnspec.schema_fields import read_shape
from cnnspec.schema_layers import SEQUENCE, cannot_leave_out, cannot_repeat
from cnnspec.spec import Block, Layer
from cnnspec.templates import FAULT, Template, evaluate, names_in
from cnnspec.treatment import treated
from cnnspec.wires import UNKNOWN, Known, Names, Unknown, give_name, look_up

Child = Node[Op] | Scope


@dataclass(slots=True)
class Made:
    """What the layers of a scope have become."""

    value: Known | None
    children: tuple[Child, ...] = ()
    absent: tuple[Absent, ...] = ()


class Layers(Wiring):
    """Builds the layers of scopes, and what is inside them."""

    def scope(self, place: Place, layers: tuple[Layer, ...], only: Known | None) -> Made:
        """Build the layers of one scope.

        Args:
            place: where.
            layers: of the scope.
            only: its only input, None where it has several.
        """
        entries = self.entries(place, layers)
        for entry in entries:
            for name in entry.names:
                place.names.later.setdefault(name, entry.layer)
        children: list[Child] = []
        absent: list[Absent] = []
        value: Known | None = only
        for entry in entries:
            layer = entry.layer
            sources = self.sources(place, layer, value)
            if not entry.present or entry.number == 0:
                value = self._left_out(place, entry, sources, len(children), absent)
                # The position that it would have had in a sequence is another layer's.
                for name in entry.names if layer.name or not place.sequence else ():
                    self._name(place, layer, name, value, None)
            elif entry.number is not None:
                value = self._repeated(place, entry, sources, children)
            else:
                when = layer.when.text if isinstance(layer.when, Template) else None
                position = len(children)
                path = f"{place.prefix}{entry.names[0]}"
                twin, shares = self.twin(place, layer, position)
                treatment = treated(place.faults, layer, place.values, place.treatment)
                instance = Instance(layer, path, place.values, (), when, twin, treatment)
                child = self._one(place, instance, sources) if not shares or twin else None
                value = _value(child)
                if child is not None:
                    children.append(child)
                self._name(place, layer, entry.names[0], value, child)
        return Made(value, tuple(children), tuple(absent))

    def _name(
        self, place: Place, layer: Layer, name: str, value: Known, child: Child | None
    ) -> None:
        give_name(place.faults, place.names, layer, name, value)
        if place.names.layers.get(name) is not layer:  # it is taken
            return
        if child is not None:
            place.names.children[name] = child
        outputs: dict[str, Known] = {}
        if layer.block:
            declared = [entry.name for entry in self.blocks[layer.key].outputs or ()]
            outputs = dict.fromkeys(declared, value)  # also of what is left out or repeated
            if isinstance(child, Scope) and child.kind == "block" and declared:
                outputs = dict(child.outputs)
        elif isinstance(child, Scope) and child.kind == "split":
            outputs = dict(child.outputs)
        for output, known in outputs.items():
            place.names.values[f"{name}.{output}"] = known

    # --- layers that are left out, and repeated ones -------------------------------------------

    def _left_out(
        self,
        place: Place,
        entry: Entry,
        sources: tuple[Known, ...],
        position: int,
        absent: list[Absent],
    ) -> Known:
        """The value that stands for a layer that is not there: its first input."""
        layer = entry.layer
        if entry.present:  # no instance of a repeated one
            value = self.single(place, layer, sources, "a repeated layer")
        else:
            value = sources[0] if self._can_read(place, layer, len(sources)) else UNKNOWN
            self.miss(place.faults, layer, sources[1:])
        written = layer.repeat if entry.present else layer.when
        if isinstance(written, Template) and not isinstance(value, Unknown):
            name = entry.names[0] if entry.names else layer.key
            absent.append(Absent(name, layer.key, written.text, value, position))
        return value

    def _can_read(self, place: Place, layer: Layer, count: int) -> bool:
        """Whether a layer that is left out could read so many inputs; reported if not.

        Too few are a fault where they are written out: a parameter that takes the layer out may
        also decide how many names a list has.
        """
        cls = lookup(layer.key)
        least, most = (1, 1) if layer.key == SEQUENCE or cls is None else cls.arity
        if layer.block:
            least = most = len(self.blocks[layer.key].inputs)
        decided = any(isinstance(name, Template) for name in layer.sources or ())
        if (count >= least or decided) and (most is None or count <= most):
            return True
        if layer.block:
            self._block_arity(place, layer, self.blocks[layer.key], count)
        elif layer.key == SEQUENCE or cls is None:
            self.single(place, layer, (UNKNOWN,) * count, "a sequence")
        else:
            self.wrong_arity(place, layer, cls, count)
        return False

    def _repeated(
        self, place: Place, entry: Entry, sources: tuple[Known, ...], children: list[Child]
    ) -> Known:
        """The instances of a layer, each reading the one before, as one scope."""
        layer, number, names = entry.layer, entry.number, entry.names
        assert number, "there is at least one instance"
        source = self.single(place, layer, sources, "a repeated layer")
        twin, shares = self.twin(place, layer, len(children))
        adds_level = not layer.names_instances and (layer.name is not None or not place.sequence)
        path = f"{place.prefix}{names[0]}" if adds_level else place.prefix[:-1]
        value: Known = UNKNOWN if shares and twin is None else source
        parts: list[Child] = []
        for i in range(number):
            own = f"{path}.{i}" if adds_level else f"{place.prefix}{names[i]}"
            values = {**place.values, "index": i, "count": number}
            which = overrides(layer, i, number)
            each = twin if shares or twin is None else twin.part(i)
            child = None
            if not isinstance(value, Unknown) or i == 0:
                treatment = treated(place.faults, layer, values, place.treatment)
                instance = Instance(layer, own, values, which, None, each, treatment)
                child = self._one(place, instance, (value,), repeated=True)
            value = _value(child)
            if child is not None:
                parts.append(child)
            if not adds_level:
                self._name(place, layer, names[i], value, child)
        if not isinstance(value, Unknown) and not isinstance(source, Unknown):
            text = layer.repeat.text if isinstance(layer.repeat, Template) else None
            scope = Scope(
                path=path,
                kind="repeat" if adds_level else "instances",
                block=None,
                arguments=(Argument("repeat", number, text),),
                inputs=(("input", source),),
                outputs=(("output", value),),
                children=tuple(parts),
                when=layer.when.text if isinstance(layer.when, Template) else None,
                named=layer.name.named
                if layer.names_instances and isinstance(layer.name, Template)
                else None,
                origin=self.origin(place.faults, Instance(layer, path, {})),
            )
            children.append(scope)
            if not self._expected(place, layer, path, value):
                value = UNKNOWN
        if adds_level:
            made = children[-1] if not isinstance(value, Unknown) else None
            self._name(place, layer, names[0], value, made)
        return value

    # --- one instance --------------------------------------------------------------------------

    def _one(
        self,
        place: Place,
        instance: Instance,
        sources: tuple[Known, ...],
        *,
        repeated: bool = False,
    ) -> Child | None:
        layer = instance.layer
        child: Child | None
        if layer.block:
            child = self._block(place, instance, sources)
        elif layer.key == SEQUENCE:
            child = self._sequence(place, instance, sources)
        else:
            child = self._op(place, instance, sources, repeated=repeated)
        if child is None or repeated:
            return child
        value = _value(child)
        assert not isinstance(value, Unknown)
        return child if self._expected(place, layer, instance.path, value) else None

    def _expected(self, place: Place, layer: Layer, path: str, value: Known) -> bool:
        expect = layer.expect
        if expect is None or isinstance(value, Unknown):
            return True
        if isinstance(expect, Template) or names_in(expect):
            found = evaluate(place.faults, expect, place.values)
            at = (*layer.fields, "expect")
            shape = None if found is FAULT else read_shape(place.faults, found, at)
            if shape is None:
                return False
        else:
            shape = tuple(size for size in expect if isinstance(size, int))
        return self.expected(place.faults, layer, path, shape, value.shape)

    def _op(
        self, place: Place, instance: Instance, sources: tuple[Known, ...], *, repeated: bool
    ) -> Child | None:
        layer = instance.layer
        op = self.instances.op(place.faults, layer, instance.values, instance.which)
        if op is None:
            return None
        texts = NOTHING
        if layer.reads:
            texts = self.instances.texts(layer, instance.which)
        if len(sources) == 1 and not isinstance(sources[0], Unknown):
            try:
                parts = op.parts(sources[0].shape)
            except Reject as reject:
                self.reject(place.faults, instance, reject, [sources[0]])
                return None
            if parts is not None:
                return self._split(place, instance, parts, sources[0], texts, repeated=repeated)
        return self.node(place, instance, op, sources, texts)

    def _split(
        self,
        place: Place,
        instance: Instance,
        parts: tuple[Op, ...],
        source: Input | Node[Op],
        texts: Mapping[str, str],
        *,
        repeated: bool,
    ) -> Scope | None:
        layer, path = instance.layer, instance.path
        if repeated or place.sequence or instance.when is not None:
            self._several_outputs(place, layer, repeated=repeated)
            return None
        if layer.share is not None:
            place.faults.add(
                "cannot-share",
                (*layer.fields, "share"),
                f"`{layer.key}` has no parameters to share",
            )
            return None
        nodes = []
        for i, op in enumerate(parts):
            twin = None if instance.twin is None else instance.twin.part(i)
            part = replace(instance, path=f"{path}.{i}", when=None, twin=twin)
            own = {name: text for name, text in texts.items() if name in op.fields()}
            node = self.node(place, part, op, (source,), own)
            if node is None:
                return None
            nodes.append(node)
        return Scope(
            path=path,
            kind="split",
            block=None,
            arguments=(),
            inputs=(("input", source),),
            outputs=tuple((str(i), node) for i, node in enumerate(nodes)),
            children=tuple(nodes),
            owner=None if instance.twin is None else instance.twin.scope,
            origin=self.origin(place.faults, instance),
        )

    def _several_outputs(self, place: Place, layer: Layer, *, repeated: bool) -> None:
        if place.sequence:
            place.faults.add(
                "wrong-arity",
                layer.fields,
                f"a layer inside a `sequence` has one output, and `{layer.key}` has several",
                help="a sequence is a chain; take the layer out of it",
                key=True,
            )
        elif repeated:
            cannot_repeat(place.faults, layer.fields)
        else:
            cannot_leave_out(place.faults, layer.fields)

    def _sequence(
        self, place: Place, instance: Instance, sources: tuple[Known, ...]
    ) -> Scope | None:
        layer, path = instance.layer, instance.path
        if len(sources) != 1:
            self.single(place, layer, sources, "a sequence")
            return None
        (source,) = sources
        inner = Place(
            place.faults,
            Names(),
            instance.values,
            f"{path}.",
            sequence=True,
            twin=instance.twin,
            treatment=instance.treatment,
        )
        made = self.scope(inner, layer.layers, source)
        if made.value is None or isinstance(made.value, Unknown) or isinstance(source, Unknown):
            return None
        return Scope(
            path=path,
            kind="sequence",
            block=None,
            arguments=(),
            inputs=(("input", source),),
            outputs=(("output", made.value),),
            children=made.children,
            owner=None if instance.twin is None else instance.twin.scope,
            when=instance.when,
            absent=made.absent,
            origin=self.origin(place.faults, instance),
        )

    def _block(self, place: Place, instance: Instance, sources: tuple[Known, ...]) -> Scope | None:
        layer, path, faults = instance.layer, instance.path, place.faults
        block = self.blocks[layer.key]
        if place.sequence and block.outputs is not None and len(block.outputs) > 1:
            self._several_outputs(place, layer, repeated=False)
            return None
        if len(sources) != len(block.inputs):
            self._block_arity(place, layer, block, len(sources))
            return None
        arguments = self.instances.arguments(faults, layer, instance.values, instance.which)
        if arguments is None:
            return None
        twin = instance.twin
        if twin is not None and not _same_block(twin, block, arguments):
            twin.refuse(f"{quoted(twin.name)} is another block or has other arguments")
            return None
        inner = Place(
            faults.of(block.document, (used_at(faults, layer), *faults.expanded)),
            Names(inputs=block.inputs),
            {argument.name: argument.value for argument in arguments},
            f"{path}.",
            twin=twin,
            treatment=instance.treatment,
        )
        for name, source in zip(block.inputs, sources, strict=True):
            inner.names.values[name] = source
        only = sources[0] if len(sources) == 1 else None
        if only is not None:
            inner.names.values["input"] = only
        made = self.scope(inner, block.layers, only)
        outputs = self._outputs(inner, block, made.value)
        values = [source for source in sources if not isinstance(source, Unknown)]
        if outputs is None or len(values) < len(sources):
            return None
        return Scope(
            path=path,
            kind="block",
            block=block.name,
            arguments=arguments,
            inputs=tuple(zip(block.inputs, values, strict=True)),
            outputs=outputs,
            children=made.children,
            owner=None if twin is None else twin.scope,
            when=instance.when,
            absent=made.absent,
            origin=self.origin(faults, instance),
        )

    def _block_arity(self, place: Place, layer: Layer, block: Block, count: int) -> None:
        given = layer.sources is not None
        wanted = "1 input" if len(block.inputs) == 1 else f"{len(block.inputs)} inputs"
        if place.sequence:
            help = "a sequence is a chain; take the layer out of it"
        else:
            help = f"name them: `from: [{', '.join(block.inputs)}]`" if wanted[0] != "1" else ""
        place.faults.add(
            "wrong-arity",
            (*layer.fields, "from") if given else layer.fields,
            f"block `{block.name}` has {wanted}, and this one is given {count}",
            help=help,
            key=not given,
        )

    def _outputs(
        self, inner: Place, block: Block, last: Known | None
    ) -> tuple[tuple[str, Input | Node[Op]], ...] | None:
        """The values of a block's outputs; None with a fault."""
        found: list[tuple[str, Known]] = []
        if block.outputs is None:
            found = [] if last is None else [("output", last)]
        for entry in block.outputs or ():
            if entry.layer in (*block.inputs, "input") and entry.layer in inner.names.values:
                inner.faults.add("output-is-input", entry.path, "an output is the value of a layer")
                return None
            value = look_up(inner.faults, inner.names, entry.layer, entry.path)
            found.append((entry.name, value))
        known = tuple((name, v) for name, v in found if not isinstance(v, Unknown))
        return known if known and len(known) == len(found) else None


def _value(child: Child | None) -> Known:
    if child is None:
        return UNKNOWN
    return child.outputs[0][1] if isinstance(child, Scope) else child


def _same_block(twin: Twin, block: Block, arguments: tuple[Argument, ...]) -> bool:
    target = twin.target
    if not isinstance(target, Scope) or target.block != block.name:
        return False
    return repr([a.value for a in target.arguments]) == repr([a.value for a in arguments])
