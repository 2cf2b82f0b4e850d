"""Two networks to what differs between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from cnnspec.api import Source, load
from cnnspec.data_section import DataSection
from cnnspec.diff.model import Change, Diff, LayerDiff, ScopeDiff, Side
from cnnspec.diff.outline import Entry, Outline
from cnnspec.diff.pairing import paired
from cnnspec.diff.spelling import spelled
from cnnspec.graph import Argument, Graph, Node, Scope, Value
from cnnspec.ops.base import Op, show
from cnnspec.summary import totals
from cnnspec.training import Training, Vocabulary


def diff(a: Graph | Source, b: Graph | Source) -> Diff:
    r"""Compare two networks.

    Args:
        a: the one before: a graph, or what `load` takes.
        b: the one after.

    Returns:
        What differs; it is true if anything does.

    Raises:
        SpecError: one of the specs is wrong.
        SetupError: there is no such file.

    Example:
        >>> import cnnspec
        >>> head = "cnnspec: 1\nname: tiny\ninput: [3]\n"
        >>> found = cnnspec.diff(head + "layers: [relu]\n", head + "layers: [relu, tanh]\n")
        >>> [layer.node for layer in found.of("added")]
        [Node('tanh1', tanh, (3,))]
    """
    one, other = (x if isinstance(x, Graph) else load(x) for x in (a, b))
    return _Comparison(Outline(one), Outline(other)).result()


class _Comparison:
    def __init__(self, a: Outline, b: Outline) -> None:
        self.a, self.b = a, b
        pairs = paired(a.entries, b.entries)
        self.partners = dict(pairs)
        self.ids = {a.entries[i].node.id: b.entries[j].node.id for i, j in pairs}
        self.ids |= _inputs(a.graph, b.graph)
        self.scopes: list[ScopeDiff] = []
        self.causes: dict[
            int, str
        ] = {}  # id of a scope of the second network -> path of a ScopeDiff
        self._compare_scopes()

    def result(self) -> Diff:
        return Diff(
            before=_side(self.a.graph),
            after=_side(self.b.graph),
            settings=tuple(self._settings()),
            scopes=tuple(self.scopes),
            layers=tuple(self._layers()),
        )

    # --- layers --------------------------------------------------------------------------------

    def _layers(self) -> Iterator[LayerDiff]:
        """In the order of the second network, what was removed before what was put there."""
        before = {j: i for i, j in self.partners.items()}
        most = len(self.a.entries)
        removed = _whole(self.a, {i for i in range(most) if i not in self.partners})
        added = _whole(self.b, {j for j in range(len(self.b.entries)) if j not in before})
        turns = [most]  # for each layer, where in the first network the next pair is
        for j in reversed(range(len(self.b.entries))):
            turns.append(before.get(j, turns[-1]))
        turns.reverse()
        told = 0
        for j, turn in enumerate(turns):
            for i in range(told, turn):
                if i not in self.partners:
                    yield LayerDiff(self.a.entries[i].node, None, within=removed[i])
            told = max(told, turn)
            if j in before:
                yield self._layer(self.a.entries[before[j]], self.b.entries[j])
            elif j < len(self.b.entries):
                yield LayerDiff(None, self.b.entries[j].node, within=added[j])

    def _layer(self, one: Entry, other: Entry) -> LayerDiff:
        changes = tuple(self._changes(one, other))
        return LayerDiff(one.node, other.node, changes, self._cause(other, changes))

    def _changes(self, one: Entry, other: Entry) -> Iterator[Change]:
        a, b = one.node, other.node
        if a.id != b.id and (one.pattern != other.pattern or one.fixed or other.fixed):
            yield Change("name", a.id, b.id)
        if a.op.key != b.op.key:
            yield Change("op", a.op.key, b.op.key)
        ours, theirs = a.op.fields(), b.op.fields()
        for name, value in ours.items():
            if name in theirs and _normal(name, value) != _normal(name, theirs[name]):
                yield Change(name, spelled(value), spelled(theirs[name]))
        if not self._wired_alike(one, other):
            yield Change("from", _names(a.inputs), _names(b.inputs))
        owners = (None if node.owner is None else node.owner.id for node in (a, b))
        owner, new_owner = owners
        if (None if owner is None else self.ids.get(owner, owner)) != new_owner:
            yield Change("share", owner, new_owner)
        if a.params and b.params and _trains(a) != _trains(b):
            yield Change("trainable", spelled(_trains(a)), spelled(_trains(b)))

    def _wired_alike(self, one: Entry, other: Entry) -> bool:
        """Whether each input is the same layer, or in both reached by the same wire."""
        a, b = one.node.inputs, other.node.inputs
        return len(a) == len(b) and all(
            self.ids.get(value.id) == new.id or (wire is not None and wire == new_wire)
            for value, wire, new, new_wire in zip(a, one.wires, b, other.wires, strict=True)
        )

    def _cause(self, entry: Entry, changes: tuple[Change, ...]) -> str | None:
        """The innermost scope with other arguments, if all changed fields are expressions."""
        if not changes or not all(c.field in entry.node.expressions for c in changes):
            return None
        causes = (self.causes.get(id(scope)) for scope, _ in reversed(entry.scopes))
        return next((path for path in causes if path is not None), None)

    # --- scopes --------------------------------------------------------------------------------

    def _compare_scopes(self) -> None:
        seen: set[int] = set()
        for i, j in self.partners.items():
            ours, theirs = self.a.entries[i].scopes, self.b.entries[j].scopes
            cause: str | None = None
            for (one, pattern), (other, other_pattern) in zip(ours, theirs, strict=False):
                if pattern != other_pattern or one.kind != other.kind:
                    break
                if id(other) not in seen:
                    seen.add(id(other))
                    self._scope(one, other, cause)
                cause = self.causes.get(id(other), cause)

    def _scope(self, one: Scope, other: Scope, cause: str | None) -> None:
        """Compare arguments; what follows from a block further out is not told again."""
        changes = tuple(_arguments(one, other))
        follows = {argument.name for argument in other.arguments if argument.expression is not None}
        own = tuple(c for c in changes if cause is None or c.field not in follows)
        if own:
            self.scopes.append(ScopeDiff(other.path, _called(other), own))
        if changes:
            self.causes[id(other)] = other.path if own or cause is None else cause

    # --- everything else -----------------------------------------------------------------------

    def _settings(self) -> Iterator[Change]:
        a, b = self.a.graph, self.b.graph
        yield from _differing("name", a.name, b.name)
        shapes = [{entry.name: show(entry.shape) for entry in graph.inputs} for graph in (a, b)]
        for name in _keys(*shapes):
            yield from _differing(f"input.{name}", shapes[0].get(name), shapes[1].get(name))
        yield from self._outputs()
        yield from _training(a.training, b.training)
        yield from _data(a.data, b.data)
        yield from _differing("seed", str(a.seed), str(b.seed))

    def _outputs(self) -> Iterator[Change]:
        ours, theirs = ({o.name: o for o in outline.graph.outputs} for outline in (self.a, self.b))
        for name in _keys(ours, theirs):
            one, other = ours.get(name), theirs.get(name)
            if one is None or other is None:
                yield Change(
                    f"output.{name}",
                    None if one is None else one.value.id,
                    None if other is None else other.value.id,
                )
                continue
            last = one.value is self.a.last() and other.value is self.b.last()
            if self.ids.get(one.value.id) != other.value.id and not last:
                yield Change(f"output.{name}", one.value.id, other.value.id)
            yield from _differing(
                f"output.{name}.training_only",
                spelled(one.training_only),
                spelled(other.training_only),
            )


def _side(graph: Graph) -> Side:
    return Side(graph.name, len(graph.nodes), totals(graph))


def _inputs(a: Graph, b: Graph) -> dict[str, str]:
    """The inputs of one network to those of the other; an only one may have another name."""
    if len(a.inputs) == len(b.inputs) == 1:
        return {a.inputs[0].id: b.inputs[0].id}
    return {entry.id: entry.id for entry in a.inputs}


def _names(values: tuple[Value, ...]) -> str:
    names = [value.id for value in values]
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


_PER_AXIS = frozenset("dilation kernel output_padding padding stride".split())


def _normal(name: str, value: object) -> object:
    """One number stands for the same on every axis and side."""
    if name in _PER_AXIS and isinstance(value, tuple) and value:
        entries = [_normal(name, entry) for entry in value]
        return entries[0] if all(entry == entries[0] for entry in entries) else tuple(entries)
    return value


def _trains(node: Node[Op]) -> bool:
    return any(param.trainable for param in node.params)


def _keys(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return list({**one, **other})


def _differing(field: str, before: str | None, after: str | None) -> Iterator[Change]:
    if before != after:
        yield Change(field, before, after)


def _called(scope: Scope) -> str:
    return scope.block or scope.kind


def _arguments(one: Scope, other: Scope) -> Iterator[Change]:
    if one.block != other.block:
        yield Change("block", _called(one), _called(other))
        return
    ours, theirs = ({a.name: a for a in scope.arguments} for scope in (one, other))
    for name in _keys(ours, theirs):
        yield from _differing(name, _value(ours.get(name)), _value(theirs.get(name)))


def _value(argument: Argument | None) -> str | None:
    return None if argument is None else spelled(argument.value)


def _whole(outline: Outline, chosen: set[int]) -> dict[int, str | None]:
    """For each chosen layer the outermost scope of which every layer is chosen."""
    missing = {
        id(scope)
        for number, entry in enumerate(outline.entries)
        if number not in chosen
        for scope, _ in entry.scopes
    }
    found: dict[int, str | None] = {}
    for number in chosen:
        scopes = (s for s, _ in outline.entries[number].scopes[1:] if s.kind != "instances")
        found[number] = next((s.path for s in scopes if id(s) not in missing), None)
    return found


# --- training ----------------------------------------------------------------------------------


def _training(a: Training | None, b: Training | None) -> Iterator[Change]:
    if a is None or b is None:
        if a is not b:
            yield Change("train", _sketch(a), _sketch(b))
        return
    ours, theirs = _section(a), _section(b)
    for name, value in ours.items():
        yield from _setting(f"train.{name}", value, theirs[name])


def _data(a: DataSection | None, b: DataSection | None) -> Iterator[Change]:
    ours, theirs = ({} if section is None else section.written() for section in (a, b))
    if not ours or not theirs:
        if ours or theirs:
            yield Change("data", *(spelled(each) if each else None for each in (ours, theirs)))
        return
    for name in _keys(ours, theirs):
        yield from _setting(f"data.{name}", ours.get(name), theirs.get(name))


def _sketch(training: Training | None) -> str | None:
    if training is None:
        return None
    return spelled(_section(training))


def _section(training: Training) -> dict[str, object]:
    """The section by the keys that it has in a spec."""
    values = {entry.name: getattr(training, entry.name) for entry in fields(Training)}
    return {"loss": values.pop("losses")} | values


def _setting(path: str, a: object, b: object) -> Iterator[Change]:
    """What differs, field by field where both are the same word."""
    if isinstance(a, Vocabulary) and isinstance(b, Vocabulary) and a.key == b.key:
        for name in type(a).model_fields:
            yield from _setting(f"{path}.{name}", getattr(a, name), getattr(b, name))
    elif isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in _keys(a, b):
            yield from _setting(f"{path}.{name}", a.get(name), b.get(name))
    else:
        yield from _differing(path, spelled(a), spelled(b))
