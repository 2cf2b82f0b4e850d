"""The statements of emitted Keras functions: a layer or a block each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from cnnspec.backends.groups import Group, Groups
from cnnspec.backends.keras.defaults import default
from cnnspec.backends.parts import Child, Part, assign, condition, relative
from cnnspec.backends.symbols import View
from cnnspec.backends.trees import Leaf, Loop
from cnnspec.backends.unify import Mismatch, Spells, patterns, unify
from cnnspec.backends.variables import Names, Plan
from cnnspec.backends.writer import Code, Writer, apply, call, mark
from cnnspec.graph import Absent, Node, Scope, Value
from cnnspec.ops.base import Op

LONGEST = 50
"""A block that is repeated more often becomes one layer: Keras recurses along functional paths."""

INSTANCE = "@@"
"""Stands in names of layers for the path of a block instance; no name of a spec has it."""


class Statements:
    """Writes what a function does, over the instances of its block.

    Attributes:
        groups: the functions of the file.
        before: for a later use of shared statistics, the uses before it.
    """

    def __init__(self, groups: Groups, before: Mapping[str, tuple[Value, ...]]) -> None:
        self.groups = groups
        self.before = before
        self.spells = Spells("", "", default)

    def write(self, writer: Writer, group: Group, local: Plan, names: Names) -> None:
        """All statements of a function.

        Args:
            writer: inside the function.
            group: what it computes.
            local: the name of every value.
            names: the names that are taken.
        """
        view = group.symbols.over(range(len(group.distinct)))
        owners = {part.owner for part in group.parts if part.owner is not None}
        objects: dict[str, str] = {}
        self.local = local
        for part in group.parts:
            reads = [Code(local[key]) for key in part.reads]
            key = f"{group.id}{part.key}"
            target = local[part.key]
            if isinstance(part.child, Node):
                if part.name in owners:
                    objects[part.name] = names.take(part.name.replace(".", "_"))
                    made = self._unified(group, part, view, self._layer)
                    writer.line(f"{objects[part.name]} = {made}")
                held = objects.get(part.owner or part.name)
                self._node(writer, group, part, target, reads, key, view, held)
            elif part.splits:
                targets = ", ".join(local[k] for k in part.values)
                writer.line(f"{targets} = {_named(self.groups.split(group, part, reads[0]))}")
            elif part.child.kind == "block":
                targets = ", ".join(local[k] for k in part.values)
                self._call(writer, group, part, targets, reads, view)
            else:
                assert len(reads) == 1
                self._inner(writer, group, part.children, part.name, target, reads[0], key, view)

    def _node(
        self,
        writer: Writer,
        group: Group,
        part: Part,
        target: str,
        reads: Sequence[Code],
        key: str,
        view: View,
        held: str | None,
    ) -> None:
        fed = [mark(f"{key}:{index}", read) for index, read in enumerate(reads)]
        assert isinstance(part.child, Node)
        for value in self.before.get(part.child.id, ()):
            earlier = next(p for p in group.parts if value in p.children)
            after = call("After", name=f"{part.child.id}.after")
            others = Code(f"[{fed[0]}, {self.local[earlier.key]}]")
            fed[0] = Code(apply(after, others))
        self._chosen(
            writer,
            target,
            reads,
            part.children,
            view,
            partial(self._made, fed=fed, held=held),
            part.name,
            key,
        )

    def _made(self, child: Node[Op], fed: Sequence[Code], held: str | None) -> Code:
        """The expression of a node in one instance."""
        spelling = self.groups.spellings[child]
        layer = Code(held) if held is not None else spelling.layer
        assert layer is not None
        return apply(layer, *fed) if spelling.call is None else spelling.call(layer, *fed)

    def _layer(self, child: Node[Op]) -> Code:
        layer = self.groups.spellings[child].layer
        assert layer is not None
        return layer

    def _unified(
        self, group: Group, part: Part, view: View, make: Callable[[Node[Op]], Code]
    ) -> Code:
        leaves = [Leaf(make(c), None, c.expressions) for c in part.children if isinstance(c, Node)]
        return _named(unify(leaves, view, self.spells, part.name))

    def _chosen(
        self,
        writer: Writer,
        target: str,
        reads: Sequence[str],
        children: Sequence[Child],
        view: View,
        make: Callable[[Node[Op]], Code],
        name: str,
        key: str,
    ) -> None:
        """`target = layer(reads)`, under an `if` where some instances do not have it."""
        there = [i for i, c in enumerate(children) if not isinstance(c, Absent)]
        nodes = [children[i] for i in there]
        inner = _view(view, there)
        leaves = [
            Leaf(make(node), None, node.expressions) for node in nodes if isinstance(node, Node)
        ]
        made = mark(key, _named(unify(leaves, inner, self.spells, name)))
        assign(writer, target, reads, f"{target} = {made}", condition(children, view, name))

    def _call(
        self,
        writer: Writer,
        group: Group,
        part: Part,
        targets: str,
        reads: Sequence[Code],
        view: View,
    ) -> None:
        there = [i for i, c in enumerate(part.children) if isinstance(c, Scope)]
        leaves = [
            self._construct(c, group.distinct[i], reads)
            for i, c in enumerate(part.children)
            if isinstance(c, Scope)
        ]
        made = _named(unify(leaves, _view(view, there), self.spells, part.name))
        needs = condition(part.children, view, part.name)
        assign(writer, targets, reads, f"{targets} = {made}", needs)

    def _construct(self, scope: Scope, around: Scope, reads: Sequence[Code]) -> Leaf:
        """The call of a block's function, for one instance."""
        group = self.groups.of[scope.path]
        inside = around.kind == "block"
        name = f"{INSTANCE}.{relative(scope.path, around)}" if inside else scope.path
        plain = group.construct(scope, name=name)
        made = call(group.name, *reads, *plain.args, **plain.kwargs)
        hints = {a.name: a.expression for a in scope.arguments if a.expression is not None}
        return Leaf(made, None, hints)

    def _inner(
        self,
        writer: Writer,
        group: Group,
        children: Sequence[Child],
        name: str,
        target: str,
        source: str,
        key: str,
        view: View,
    ) -> None:
        """A sequence or a repeat, as statements over one variable."""
        there = [i for i, c in enumerate(children) if not isinstance(c, Absent)]
        scopes = [c for c in children if isinstance(c, Scope)]
        needs = condition(children, view, name)
        inner = _view(view, there)
        if needs is not None:
            if target != source:
                writer.line(f"{target} = {source}")
                source = target
            with writer.indented(f"if {needs}:"):
                self._chain(writer, group, scopes, name, target, source, key, inner)
        else:
            self._chain(writer, group, scopes, name, target, source, key, inner)

    def _chain(
        self,
        writer: Writer,
        group: Group,
        scopes: Sequence[Scope],
        name: str,
        target: str,
        source: str,
        key: str,
        view: View,
    ) -> None:
        if scopes[0].kind in ("repeat", "instances"):
            self._loop(writer, group, scopes, name, target, source, view)
            return
        rows = [self.groups.children(scope) for scope in scopes]
        if len({len(row) for row in rows}) > 1:
            raise Mismatch(name)
        for position in range(len(rows[0])):
            column = [row[position] for row in rows]
            own = f"{key}.{position}"
            label = f"{name}_{position}"
            first = next((c for c in column if not isinstance(c, Absent)), None)
            if first is None:  # these instances all lack it
                continue
            if isinstance(first, Node):
                fed = [mark(f"{own}:0", source)]
                make = partial(self._made, fed=fed, held=None)
                self._chosen(writer, target, [source], column, view, make, label, own)
            elif first.kind == "block":
                around = [group.distinct[i] for i in view.instances]
                leaves = [
                    self._construct(c, a, [Code(source)])
                    for c, a in zip(column, around, strict=True)
                    if isinstance(c, Scope)
                ]
                places = [i for i, c in enumerate(column) if isinstance(c, Scope)]
                made = _named(unify(leaves, _view(view, places), self.spells, label))
                needs = condition(column, view, label)
                assign(writer, target, [source], f"{target} = {made}", needs)
            else:
                self._inner(writer, group, column, label, target, source, own, view)
            source = target

    def _loop(
        self,
        writer: Writer,
        group: Group,
        scopes: Sequence[Scope],
        name: str,
        target: str,
        source: str,
        view: View,
    ) -> None:
        """The instances of a repeated block, one call after the other."""
        around = [group.distinct[i] for i in view.instances]
        longest = max(len(scope.children) for scope in scopes)
        first = "x" if longest > LONGEST else target

        def loops(read: str) -> list[Loop]:
            return [
                Loop(
                    tuple(
                        self._construct(child, outer, [Code(read)])
                        for child in scope.children
                        if isinstance(child, Scope)
                    ),
                    scope.arguments[0].expression,
                )
                for scope, outer in zip(scopes, around, strict=True)
            ]

        found = patterns(loops(first), view, self.spells, name)
        if not found:
            raise Mismatch(name)
        ((lead, between, tail),) = found
        for made in lead:
            writer.line(f"{target} = {_named(_reading(made, first, source))}")
            source = target
        if between is not None:
            made, span = between
            if longest > LONGEST:
                block = f"lambda x, index: {_named(made)}"
                chained = call("chain", Code(source), Code(block), span.over(len(lead)))
                (_, start) = scopes[0].outputs[0]
                title = scopes[0].path if scopes[0].kind == "repeat" else f"{start.id}.chain"
                if group.block is not None:
                    title = f"{INSTANCE}.{relative(title, around[0])}"
                layer = call("Repeated", chained, name=f"{title}")
                writer.line(f"{target} = {_named(apply(layer, Code(source)))}")
            else:
                if source != target:
                    writer.line(f"{target} = {source}")
                with writer.indented(f"for index in {span.over(len(lead))}:"):
                    writer.line(f"{target} = {_named(made)}")
            source = target
        for made in tail:
            writer.line(f"{target} = {_named(_reading(made, first, source))}")


def _reading(made: Code, wanted: str, source: str) -> Code:
    """A call with another first argument."""
    return Code(made.replace(f"({wanted}, ", f"({source}, ", 1))


def _view(view: View, places: Sequence[int]) -> View:
    return View(view.symbols, tuple(view.instances[i] for i in places))


def _named(code: Code) -> Code:
    """Names of layers, with the instance's own in front where there is one."""
    return Code(
        re.sub(rf'"{INSTANCE}\.', 'f"{name}.', re.sub(rf'f"{INSTANCE}\.', 'f"{name}.', code))
    )
