"""Constructors of emitted classes: an attribute for each layer that the class holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnnspec.backends.groups import Group, Groups
from cnnspec.backends.parts import Part, condition, sole
from cnnspec.backends.symbols import View
from cnnspec.backends.trees import Chain, Leaf, Loop, Maybe, Tree
from cnnspec.backends.unify import (
    Mismatch,
    Spells,
    entries,
    instance_name,
    loop,
    named_loop,
    patterns,
    present,
    unify,
    view_of,
)
from cnnspec.backends.variables import plain
from cnnspec.backends.writer import Call, Code, Writer, literal, mark, unmarked
from cnnspec.graph import Absent, Node, Scope
from cnnspec.names import RESERVED


@dataclass(frozen=True, slots=True)
class Constructor:
    """Writes the attributes of a class.

    Attributes:
        groups: of the file.
        spells: what is the back end's own.
    """

    groups: Groups
    spells: Spells

    def functional(self, part: Part) -> bool:
        """Whether a part is a call in the forward pass that needs nothing held."""
        if part.splits:
            return True
        if not isinstance(part.child, Node):
            return False
        if not part.merges and any(isinstance(c, Absent) for c in part.children):
            return False
        spellings = [self.groups.spellings[c] for c in part.children if isinstance(c, Node)]
        if any(s.call is None for s in spellings):
            return False
        return len({str(s.layer) for s in spellings}) == 1

    def attributes(self, writer: Writer, group: Group) -> None:
        """Everything that the class holds, in order."""
        view = group.symbols.over(range(len(group.distinct)))
        if sole(group.distinct[0]):
            self._named_instances(writer, group, view)
            return
        self._flags(writer, group, view)
        for part in group.parts:
            if self._holds(part):
                # An identity has one input: what merges is under a condition where it is called.
                none = replace(self.spells, identity="None")
                own = replace(self, spells=none) if part.merges else self
                own._attribute(writer, group, part, view)

    def _holds(self, part: Part) -> bool:
        """Whether a part is an attribute."""
        return part.owner is None and not self.functional(part)

    def _flags(self, writer: Writer, group: Group, view: View) -> None:
        """Attributes that say whether an instance has what merges several values.

        A layer that is held says so itself.
        """
        taken = {*RESERVED, *(part.name.partition(".")[0] for part in group.parts)}
        known: dict[Code, str] = {}
        for part in group.parts:
            if not part.merges:
                continue
            if self._holds(part):
                group.flags[part.key] = Code(f"self.{part.name} is not None")
                continue
            there = condition(part.children, view, part.name)
            assert there is not None
            if there not in known:
                name = there if there.isidentifier() else f"has_{plain(part.name)}"
                name = f"has_{plain(part.name)}" if name in taken else name
                while name in taken:
                    name += "_"
                taken.add(name)
                known[there] = name
                writer.line(f"self.{name} = {there}")
            group.flags[part.key] = Code(f"self.{known[there]}")

    def _attribute(self, writer: Writer, group: Group, part: Part, view: View) -> None:
        trees = [
            self._alone(self.groups.tree(child, f"{group.id}{part.key}", around))
            for child, around in zip(part.children, group.distinct, strict=True)
        ]
        key = f"{group.id}{part.key}"
        self._assign(writer, f"self.{part.name}", settled(trees), view, part.name, key)

    def _alone(self, tree: Tree) -> Tree:
        """A layer that the forward pass calls by itself, and which is marked there."""
        if isinstance(tree, Maybe) and tree.tree is not None:
            return Maybe(self._alone(tree.tree), tree.when)
        if not isinstance(tree, Leaf):
            return tree
        function = self.spells.wraps is not None and not isinstance(tree.code, Call)
        code = Code(f"{self.spells.wraps}({tree.code})") if function else tree.code
        return Leaf(code, None, tree.hints)

    def _assign(
        self,
        writer: Writer,
        target: str,
        trees: Sequence[Tree],
        view: View,
        name: str,
        key: str,
    ) -> None:
        if any(isinstance(tree, Maybe) for tree in trees):
            there, condition = present(trees, view, name)
            inner = view_of(view, [i for i, _ in there])
            some = [tree for _, tree in there]
            if condition is None or self._simple(some):
                made = Code(f"{target} = {unify(trees, view, self.spells, name)}")
                if condition is None or writer.fits(made):
                    writer.line(made)
                    return
            with writer.indented(f"if {condition}:"):
                self._assign(writer, target, some, inner, name, key)
            with writer.indented("else:"):
                writer.line(f"{target} = {self.spells.identity}")
            return
        if self._simple(trees):
            writer.line(f"{target} = {unify(trees, view, self.spells, name)}")
            return
        chains = [tree for tree in trees if isinstance(tree, Chain)]
        if chains[0].names is None and not any(
            self._holds_names(item) for chain in chains for item in chain.items
        ):
            self._gathered(writer, target, chains, view, name)
        else:
            writer.line(f"{target} = {mark(key, f'{self.spells.sequential}()')}")
            self._filled(writer, target, [_named(_unrolled(c)) for c in chains], view, name)

    def _holds_names(self, tree: Tree) -> bool:
        """Whether a container inside has layers with names, which take statements to add."""
        if isinstance(tree, Maybe):
            return tree.tree is not None and self._holds_names(tree.tree)
        if isinstance(tree, Chain) and tree.names is not None:
            return not self.spells.named
        return isinstance(tree, (Chain, Loop)) and any(self._holds_names(i) for i in tree.items)

    def _simple(self, trees: Sequence[Tree]) -> bool:
        """Whether one expression says it all."""
        loops = [tree for tree in trees if isinstance(tree, Loop)]
        if any(not self._simple([item]) for entry in loops for item in entry.items):
            return False
        chains = [tree for tree in trees if isinstance(tree, Chain)]
        if not chains:
            return True
        if any(chain.names is not None for chain in chains):
            return self.spells.named
        if any(isinstance(item, Maybe) and item.tree is None for c in chains for item in c.items):
            return False
        return all(self._simple([item]) for c in chains for item in c.items)

    def _gathered(
        self, writer: Writer, target: str, chains: Sequence[Chain], view: View, name: str
    ) -> None:
        """A list of layers that grows, where some are there in some instances only."""
        if any(len(chain.items) != len(chains[0].items) for chain in chains):
            raise Mismatch(name)
        start = len(writer.lines)
        pending: list[Code] = []

        def flush() -> None:
            if len(writer.lines) == start:
                writer.line(f"layers = [{', '.join(pending)}]")
            elif len(pending) == 1 and not unmarked(pending[0]).startswith("*"):
                writer.line(f"layers.append({pending[0]})")
            elif pending:
                writer.line(f"layers += [{', '.join(pending)}]")
            pending.clear()

        for position in range(len(chains[0].items)):
            trees = [chain.items[position] for chain in chains]
            label = f"{name}_{position}"
            if all(isinstance(tree, Maybe) and tree.tree is None for tree in trees):
                continue
            if any(isinstance(tree, Maybe) for tree in trees):
                there, condition = present(trees, view, label)
                inner = view_of(view, [i for i, _ in there])
                some = [Chain((tree,)) for _, tree in there]
                made = entries(some, inner, self.spells, label)
                if condition is None:
                    pending += made
                    continue
                flush()
                with writer.indented(f"if {condition}:"):
                    pending += made
                    flush()
                continue
            pending += entries([Chain((tree,)) for tree in trees], view, self.spells, label)
        flush()
        writer.line(f"{target} = {self.spells.sequential}(*layers)")

    def _filled(
        self, writer: Writer, target: str, chains: Sequence[Chain], view: View, name: str
    ) -> None:
        """A container whose layers have names, added one by one."""
        names = chains[0].names
        assert names is not None
        if any(chain.names != names for chain in chains):
            raise Mismatch(name)
        for position, own in enumerate(names):
            trees = [chain.items[position] for chain in chains]
            label = f"{name}_{own or position}"
            if all(isinstance(tree, Maybe) and tree.tree is None for tree in trees):
                continue
            if all(isinstance(tree, Loop) for tree in trees):
                loops = [tree for tree in trees if isinstance(tree, Loop)]
                self._looped(writer, target, loops, view, label)
            elif self._simple(trees):
                made = unify(trees, view, self.spells, label)
                writer.line(f"{target}.add_module({literal(own)}, {made})")
            else:
                inner = f"{target}[{own}]" if own.isdigit() else f"{target}.{own}"
                writer.line(f"{target}.add_module({literal(own)}, {self.spells.sequential}())")
                nested = [_unrolled(tree) for tree in trees if isinstance(tree, Chain)]
                self._filled(writer, inner, [_named(c) for c in nested], view, label)

    def _looped(
        self, writer: Writer, target: str, loops: Sequence[Loop], view: View, name: str
    ) -> None:
        """Named instances, added in a loop where one text says them all."""
        named = loops[0].named
        if any(one.named != named for one in loops):  # what is left out in front moves positions
            raise Mismatch(name)
        if named is None:
            made = loop(loops, view, self.spells, name)
            writer.line(f"{target}.extend([{', '.join(made)}])")
            return
        key = loops[0].key
        if any(self._holds_names(one) for one in loops):  # no expression says it
            self._written_out(writer, target, loops, view, name)
            return
        for lead, between, tail in patterns(loops, view, self.spells, name):
            if key is not None and lead:
                lead[0] = mark(key, lead[0])
            for index, layer in enumerate(lead):
                writer.line(f"{target}.add_module({instance_name(named, index)}, {layer})")
            if between is not None:
                layer, span = between
                if key is not None and not lead:
                    layer = mark(key, layer)
                with writer.indented(f"for index in {span.over(len(lead))}:"):
                    writer.line(f'{target}.add_module(f"{named}", {layer})')
            for index, layer in enumerate(tail, start=len(loops[0].items) - len(tail)):
                writer.line(f"{target}.add_module({instance_name(named, index)}, {layer})")
            return
        raise Mismatch(name)

    def _written_out(
        self, writer: Writer, target: str, loops: Sequence[Loop], view: View, name: str
    ) -> None:
        """Named instances that are containers of named layers, each with statements of its own."""
        first = loops[0]
        assert first.named is not None
        if len({len(one.items) for one in loops}) > 1:
            raise Mismatch(name)
        for index in range(len(first.items)):
            own = instance_name(first.named, index)
            made = Code(f"{self.spells.sequential}()")
            if first.key is not None and index == 0:
                made = mark(first.key, made)
            writer.line(f"{target}.add_module({own}, {made})")
            trees = [one.items[index] for one in loops]
            nested = [_named(_unrolled(tree)) for tree in trees if isinstance(tree, Chain)]
            inner = f"{target}.{own[1:-1]}" if own[1:-1].isidentifier() else f"{target}[{own}]"
            self._filled(writer, inner, nested, view, f"{name}_{index}")

    def _named_instances(self, writer: Writer, group: Group, view: View) -> None:
        loops = []
        for scope in group.distinct:
            (child,) = scope.children
            assert isinstance(child, Scope)
            tree = self.groups.tree(child, f"{group.id}#0", scope)
            assert isinstance(tree, Loop)
            loops.append(tree)
        name = group.parts[0].name
        if self.spells.named:
            inside = ", ".join(named_loop(loops, view, self.spells, name))
            writer.line(f"super().__init__({{{inside}}})")
        else:
            self._looped(writer, "self", loops, view, name)


def settled(trees: Sequence[Tree]) -> list[Tree]:
    """The trees without the conditions that hold in all instances, or in none."""
    if all(isinstance(tree, Maybe) and tree.tree is not None for tree in trees):
        return settled([tree.tree for tree in trees if isinstance(tree, Maybe) and tree.tree])
    loops = [tree for tree in trees if isinstance(tree, Loop)]
    if len(loops) == len(trees) and len({len(entry.items) for entry in loops}) == 1:
        columns = [settled([entry.items[k] for entry in loops]) for k in range(len(loops[0].items))]
        rows = zip(*columns, strict=True)
        return [replace(entry, items=row) for entry, row in zip(loops, rows, strict=True)]
    chains = [tree for tree in trees if isinstance(tree, Chain)]
    if len(chains) < len(trees) or len({len(chain.items) for chain in chains}) > 1:
        return list(trees)
    kept = []
    for position in range(len(chains[0].items)):
        column = [chain.items[position] for chain in chains]
        if not all(isinstance(item, Maybe) and item.tree is None for item in column):
            kept.append((position, settled(column)))
    return [
        Chain(
            tuple(column[row] for _, column in kept),
            None if chain.names is None else tuple(chain.names[p] for p, _ in kept),
        )
        for row, chain in enumerate(chains)
    ]


def _unrolled(chain: Chain) -> Chain:
    """A chain whose loops hold layers with names, with each instance for itself."""
    items: list[Tree] = []
    for item in chain.items:
        nested = isinstance(item, Loop) and any(isinstance(i, Chain) for i in item.items)
        items += item.items if nested and chain.names is None and isinstance(item, Loop) else [item]
    return Chain(tuple(items), chain.names)


def _named(chain: Chain) -> Chain:
    if chain.names is not None:
        return chain
    return Chain(chain.items, tuple(str(i) for i in range(len(chain.items))))
