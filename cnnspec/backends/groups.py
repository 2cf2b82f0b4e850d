"""Instances of blocks that share one class, and what such a class consists of.

All instances of a block have the same text in the spec. What differs between them is the values of
parameters, and which layers a `when:` has taken out. Instances whose layers are spelled by the
same constructors and wired alike share a class; others get one of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cnnspec.backends.channels import spelled_channels
from cnnspec.backends.columns import Spelling
from cnnspec.backends.parts import (
    Child,
    Part,
    Spread,
    children,
    common,
    empty,
    first_owner,
    own_name,
    owner_of,
    part_of,
    relative,
    spread_named,
)
from cnnspec.backends.symbols import Symbol, Symbols, names_of
from cnnspec.backends.trees import Chain, Leaf, Loop, Maybe, Tree
from cnnspec.backends.unify import CHANNELS, Mismatch
from cnnspec.backends.writer import Call, Code, call, mark
from cnnspec.graph import REQUIRED, Absent, Graph, Node, Scope
from cnnspec.ops.base import Op

ResultT = TypeVar("ResultT")


def camel(name: str) -> str:
    """`lenet_tanh` as a class is called, `LenetTanh`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


Spell = Callable[[Node[Op]], Spelling]


@dataclass(slots=True)
class Group:
    """A class: of the network, or of instances of a block.

    Attributes:
        id: within the file.
        name: of the class.
        block: the name of the block, None for the network.
        members: every instance.
        distinct: instances that differ in what the text depends on.
        index: path of a member -> its place in `distinct`.
        inputs: name and key of each input.
        parts: the body, over `distinct`.
        outputs: name and key of each output.
        symbols: the arguments that its constructor can have.
        signature: those that it has, once its body is written.
        passes: names that a constructor hands on to those inside, in front of all arguments.
        flags: key of a part that merges -> source that says whether this instance has it.
    """

    id: str
    name: str
    block: str | None
    members: list[Scope]
    distinct: list[Scope]
    index: dict[str, int]
    inputs: list[tuple[str, str]]
    parts: list[Part]
    outputs: list[tuple[str, str]]
    symbols: Symbols
    signature: list[Symbol] = field(default_factory=list)
    passes: tuple[str, ...] = ()
    flags: dict[str, Code] = field(default_factory=dict)

    def values(self, member: Scope) -> dict[str, object]:
        """The value of each argument of the constructor, for one instance."""
        place = self.index[member.path]
        return {symbol.name: symbol.values[place] for symbol in self.signature}

    def construct(self, member: Scope, **more: object) -> Call:
        """The call that makes one instance."""
        values = self.values(member)
        required = [values[s.name] for s in self.signature if s.required]
        optional = {
            s.name: values[s.name]
            for s in self.signature
            if not s.required and values[s.name] != s.default
        }
        passed = [Code(name) for name in self.passes]
        return call(self.name, *passed, *required, **optional, **more)


class Groups:
    """All classes of a file, in the order in which they have to be defined.

    Attributes:
        blocks: inner ones first.
        root: of the network.
        held: whether a sequence is an object that holds its layers.
    """

    def __init__(
        self,
        graph: Graph,
        spell: Spell,
        *,
        spread: Spread = spread_named,
        title: Callable[[str], str] = camel,
        held: bool = True,
        apart: frozenset[str] = frozenset(),
    ) -> None:
        self.spellings = _Spellings(spell, held=held)
        self._spread = spread
        self.title = title
        self.held = held
        self.apart = apart
        self.channels = spelled_channels(graph)
        self.of: dict[str, Group] = {}
        self.blocks: list[Group] = []
        by_block = self._instances(graph.root)
        for block in self._inner_first(by_block):
            found = self._classify(block, by_block[block])
            self.blocks += found
        self.root = self._group([graph.root], [graph.root], {"": 0}, None, "root")

    def _classify(self, block: str, instances: Sequence[Scope]) -> list[Group]:
        by_form: dict[object, list[Scope]] = {}
        for scope in instances:
            form: object = (self._form(scope), _about(scope) if block in self.apart else ())
            by_form.setdefault(form, []).append(scope)
        sets: list[tuple[object, list[Scope]]] = []
        for own, scopes in by_form.items():
            for place, (other, members) in enumerate(sets):
                merged = _merge(other, own)
                if merged is None or block in self.apart:
                    continue
                try:
                    self._parts([*_firsts(members), *_firsts(scopes)])
                except Mismatch:
                    continue
                sets[place] = (merged, [*members, *scopes])
                break
            else:
                sets.append((own, list(scopes)))
        found = []
        for number, (_, members) in enumerate(sets, start=1):
            distinct, index = _distinct(members)
            title = block if number == 1 else f"{block}{number}"
            group = self._group(members, distinct, index, block, title)
            found.append(group)
            for scope in members:
                self.of[scope.path] = group
        return found

    def _group(
        self,
        members: list[Scope],
        distinct: list[Scope],
        index: dict[str, int],
        block: str | None,
        title: str,
    ) -> Group:
        inputs, parts, outputs = self._parts(distinct)
        return Group(
            id=title,
            name=self.title(title),
            block=block,
            members=members,
            distinct=distinct,
            index=index,
            inputs=inputs,
            parts=parts,
            outputs=outputs,
            symbols=_symbols(distinct, block),
        )

    def _form(self, scope: Scope) -> object:
        return (
            tuple(name for name, _ in scope.inputs),
            tuple(name for name, _ in scope.outputs),
            tuple(self._form_of(child, scope) for child in self.children(scope)),
        )

    def _form_of(self, child: Child, around: Scope) -> object:
        """What has to be equal where a class is shared; None for what is absent."""
        if isinstance(child, Absent):
            return None
        if isinstance(child, Node):
            name = relative(child.id, around)
            owner = owner_of(child, around)
            return ("node", _digits(name), owner, self.spellings.form(child), child.when)
        name = _digits(child.name)
        owner = owner_of(child, around)
        if child.kind == "block":
            wanted = first_owner(child)
            return ("block", name, owner, self.of[wanted.path].id, child.when)
        if child.kind in ("repeat", "instances"):
            forms = [self._form_of(entry, child) for entry in self.children(child)]
            runs = [f for i, f in enumerate(forms) if i == 0 or not _alike(f, forms[i - 1])]
            named = child.named if child.kind == "instances" else name
            return (child.kind, named, tuple(_unnamed(run) for run in runs), child.when)
        return (child.kind, name, owner, self._form(child), child.when)

    # --- constructors --------------------------------------------------------------------------

    def tree(self, child: Child, key: str, around: Scope) -> Tree:
        """What makes one child of one instance."""
        if isinstance(child, Absent):
            return Maybe(None, child.when)
        made = self._made(child, key)
        return made if child.when is None else Maybe(made, child.when)

    def _made(self, child: Node[Op] | Scope, key: str) -> Tree:
        if isinstance(child, Node):
            layer = self.spellings[child].layer
            if layer is None:
                raise Mismatch(child.id)
            return Leaf(layer, key, self.hints(child))
        if child.kind == "block":
            hints = {a.name: a.expression for a in child.arguments if a.expression is not None}
            return Leaf(self.of[child.path].construct(child), None, hints)
        if child.kind == "sequence":
            inner = self.children(child)
            names = tuple(own_name(entry, child) for entry in inner)
            positional = all(name is None or name.isdigit() for name in names)
            items = [self.tree(c, f"{key}.{i}", child) for i, c in enumerate(inner)]
            if positional:
                return Chain(tuple(items))
            items = [_numbered(i, c, child) for i, c in zip(items, inner, strict=True)]
            return Chain(tuple(items), tuple(name or "" for name in names))
        loop = self._loop(child, key)
        return Chain((loop,)) if child.kind == "repeat" else loop

    def hints(self, node: Node[Op]) -> Mapping[str, str]:
        """The expressions that the spec has for the numbers of a layer."""
        channels = self.channels.get(node.id)
        return node.expressions if channels is None else {**node.expressions, CHANNELS: channels}

    def _loop(self, scope: Scope, key: str) -> Loop:
        items = tuple(_bare(self.tree(c, f"{key}.*", scope)) for c in self.children(scope))
        return Loop(items, scope.arguments[0].expression, scope.named, key)

    # --- scopes --------------------------------------------------------------------------------

    def children(self, scope: Scope) -> list[Child]:
        """What a scope has in order, as the back end writes it."""
        return children(scope, self._spreads)

    def _spreads(self, child: Scope, scope: Scope) -> bool:
        if child.kind != "split":
            return self._spread(child, scope)
        first = child.children[0]
        assert isinstance(first, Node)
        return len(child.children) == 1 or self.spellings[first].split is None

    def split(self, group: Group, part: Part, x: Code, *, marked: bool = True) -> Code:
        """The call that gives all parts of a `split`."""
        scope = part.child
        assert isinstance(scope, Scope)
        nodes = [child for child in scope.children if isinstance(child, Node)]
        spell = self.spellings[nodes[0]].split
        assert spell is not None
        sizes = tuple(node.shape[0] for node in nodes)
        if not marked:
            return spell(x, sizes)
        key = f"{group.id}{part.key}"
        return mark(key, spell(mark(f"{key}:0", x), sizes))

    def _scopes(self, scope: Scope) -> Iterator[Scope]:
        """The scopes inside, as the back end writes them, outer ones first."""
        stack = [scope]
        while stack:
            inside = [c for c in self.children(stack.pop()) if isinstance(c, Scope)]
            yield from inside
            stack.extend(reversed(inside))

    def _instances(self, root: Scope) -> dict[str, list[Scope]]:
        """Every block instance, by block, in order."""
        found: dict[str, list[Scope]] = {}
        for scope in self._scopes(root):
            if scope.kind == "block":
                assert scope.block is not None
                found.setdefault(scope.block, []).append(scope)
        return found

    def _inner_first(self, by_block: dict[str, list[Scope]]) -> list[str]:
        """Blocks, each behind those it contains."""
        contains = {
            block: {name for scope in scopes for name in self._blocks_in(scope)}
            for block, scopes in by_block.items()
        }
        found: dict[str, None] = {}
        while len(found) < len(contains):
            ready = [b for b, inner in contains.items() if b not in found and inner <= found.keys()]
            assert ready, "a block contains itself"
            found |= dict.fromkeys(ready)
        return list(found)

    def _blocks_in(self, scope: Scope) -> Iterator[str]:
        stack = [scope]
        while stack:
            for inner in self.children(stack.pop()):
                if isinstance(inner, Scope) and inner.kind == "block":
                    assert inner.block is not None
                    yield inner.block
                elif isinstance(inner, Scope):
                    stack.append(inner)

    def _parts(
        self, scopes: Sequence[Scope]
    ) -> tuple[list[tuple[str, str]], list[Part], list[tuple[str, str]]]:
        """Inputs, body and outputs of a class, over these instances.

        Raises:
            Mismatch: they are not wired alike.
        """
        first = scopes[0]
        inputs = [(name, f"@{name}") for name, _ in first.inputs]
        known: list[dict[str, list[str]]] = []
        for scope in scopes:
            if [name for name, _ in scope.inputs] != [name for name, _ in inputs]:
                raise Mismatch(first.path)
            aliases: dict[str, list[str]] = {}
            for name, value in scope.inputs:
                aliases.setdefault(value.id, []).append(f"@{name}")
            known.append(aliases)
        rows = [self.children(scope) for scope in scopes]
        if len({len(row) for row in rows}) > 1:
            raise Mismatch(first.path)
        parts = []
        for position in range(len(rows[0])):
            column = tuple(row[position] for row in rows)
            if all(isinstance(child, Absent) or empty(child) for child in column):
                continue
            parts.append(part_of(position, column, scopes, known))
        outputs = [
            (name, common([(scope.outputs[i][1],) for scope in scopes], known)[0])
            for i, (name, _) in enumerate(first.outputs)
        ]
        return inputs, parts, outputs


class _Spellings:
    """The spelling of each node, made once."""

    def __init__(self, spell: Spell, *, held: bool) -> None:
        self._spell = spell
        self._held = held
        self._made: dict[str, Spelling] = {}

    def __getitem__(self, node: Node[Op]) -> Spelling:
        found = self._made.get(node.id)
        if found is None:
            found = self._made[node.id] = self._spell(node)
        return found

    def form(self, node: Node[Op]) -> object:
        """The constructors in it, without their arguments."""
        spelling = self[node]
        inputs = [Code(f"#{i}") for i in range(len(node.inputs))]
        if spelling.split is not None:
            return str(spelling.split(inputs[0], node.shape[:1]))
        if spelling.layer is None:
            assert spelling.call is not None
            return str(spelling.call(*inputs))
        if self._held or spelling.call is None:
            return _shape(spelling.layer)
        return _shape(spelling.call(spelling.layer, *inputs))


def _shape(value: object) -> object:
    if isinstance(value, Call):
        nested = tuple((k, _shape(v)) for k, v in value.kwargs.items() if isinstance(v, Code))
        made = isinstance(value.function, Call)
        function = _shape(value.function) if made else value.function
        return (function, tuple(_shape(a) for a in value.args), nested)
    return str(value) if isinstance(value, Code) else None


def _numbered(tree: Tree, child: Child, around: Scope) -> Tree:
    """Instances that are positions among layers with names have those as their names."""
    if not isinstance(tree, Loop) or tree.named is not None:
        return tree
    assert isinstance(child, Scope)
    first = child.children[0]
    start = relative(first.id if isinstance(first, Node) else first.path, around)
    named = "{index}" if start == "0" else f"{{index + {start}}}"
    return replace(tree, named=named)


def _bare(tree: Tree) -> Tree:
    """The marks inside a loop are its own: one text stands for many nodes."""
    if isinstance(tree, Leaf):
        return Leaf(tree.code, None, tree.hints)
    if isinstance(tree, Chain):
        return Chain(tuple(_bare(item) for item in tree.items), tree.names)
    if isinstance(tree, Loop):
        return Loop(tuple(_bare(item) for item in tree.items), tree.count, tree.named, None)
    return Maybe(None if tree.tree is None else _bare(tree.tree), tree.when)


# --- instances -----------------------------------------------------------------------------------


def _firsts(scopes: Sequence[Scope]) -> list[Scope]:
    return _distinct(scopes)[0]


def _distinct(members: Sequence[Scope]) -> tuple[list[Scope], dict[str, int]]:
    """One instance for each set of arguments and input shapes; where each member belongs."""
    found: dict[object, int] = {}
    distinct: list[Scope] = []
    index: dict[str, int] = {}
    for scope in members:
        key = _about(scope)
        if key not in found:
            found[key] = len(distinct)
            distinct.append(scope)
        index[scope.path] = found[key]
    return distinct, index


def _about(scope: Scope) -> object:
    """What the layers of an instance depend on: its arguments, and the shapes of its inputs.

    Also which inputs are one value: such an instance does not tell which of them a layer reads.
    """
    arguments = tuple((a.name, type(a.value), a.value) for a in scope.arguments)
    ids = [value.id for _, value in scope.inputs]
    same = tuple(ids.index(id) for id in ids)
    return arguments, tuple(value.shape for _, value in scope.inputs), same


def writing(make: Callable[[frozenset[str]], ResultT]) -> ResultT:
    """What `make` gives for the blocks whose instances cannot share a class after all.

    Each such instance then gets a class of its own.
    """
    apart: frozenset[str] = frozenset()
    while True:
        try:
            return make(apart)
        except Mismatch as found:
            if found.block is None or found.block in apart:
                raise
            apart |= {found.block}


def _digits(name: str) -> str:
    """Positions say nothing, since absent layers shift them."""
    return "" if name.isdigit() else name


def _alike(a: object, b: object) -> bool:
    return a == b or _unnamed(a) == _unnamed(b)


def _unnamed(form: object) -> object:
    """A form without its name: instances of a repeat are named by number."""
    return (form[0], *form[2:]) if isinstance(form, tuple) and len(form) > 2 else form


def _merge(a: object, b: object) -> object | None:
    """A form that stands for both, where one has what the other lacks; else None."""
    if a == b:
        return a
    if a is None or b is None:
        return b if a is None else a
    if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
        return None
    merged: list[object] = []
    for left, right in zip(a, b, strict=True):
        if left is None and right is None:
            merged.append(None)
            continue
        inner = _merge(left, right)
        if inner is None:
            return None
        merged.append(inner)
    return tuple(merged)


# --- the body ------------------------------------------------------------------------------------


def _symbols(distinct: Sequence[Scope], block: str | None) -> Symbols:
    given: dict[str, Symbol] = {}
    first = distinct[0]
    if block is not None:
        for place, (name, _) in enumerate(first.inputs):
            title = "in_channels" if len(first.inputs) == 1 else f"{name}_channels"
            channels = tuple(scope.inputs[place][1].shape[0] for scope in distinct)
            given[title] = Symbol(title, channels)
        for place, argument in enumerate(first.arguments):
            values = tuple(scope.arguments[place].value for scope in distinct)
            required = argument.default is REQUIRED
            given[argument.name] = Symbol(
                argument.name, values, required, None if required else argument.default
            )
    texts = dict.fromkeys(text for scope in distinct for text in _texts(scope))
    known = set(given)
    pool = [text for text in texts if names_of([text]) <= known] if block is not None else []
    conditions = dict.fromkeys(text for scope in distinct for text in _conditions(scope))
    return Symbols(len(distinct), given, pool, tuple(conditions))


def _conditions(scope: Scope) -> Iterator[str]:
    """Every `when:` of a block's own text."""
    stack: list[Scope] = [scope]
    while stack:
        inner = stack.pop()
        yield from (absent.when for absent in inner.absent)
        for child in inner.children:
            if child.when is not None:
                yield child.when
            if isinstance(child, Scope) and child.kind != "block":
                stack.append(child)


def _texts(scope: Scope) -> Iterator[str]:
    """Every expression of a block's own text."""
    stack: list[Child] = [*scope.children]
    while stack:
        child = stack.pop(0)
        if isinstance(child, Absent):
            continue
        if isinstance(child, Node):
            yield from child.expressions.values()
            continue
        yield from (a.expression for a in child.arguments if a.expression is not None)
        if child.kind != "block":
            stack = [*child.children, *stack]


__all__ = ["Group", "Groups", "camel", "writing"]
