"""Which expression gives a number that differs between the instances of a class.

An expression is never taken on trust: it is evaluated for every instance and has to give that
instance's value. What no expression gives becomes an argument of its own.
"""

from __future__ import annotations

import ast
import copy
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnnspec.backends.writer import Code, literal
from cnnspec.expressions import Expression, ExpressionError
from cnnspec.expressions import literal as tree_of

INDEX = "index"

Column = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Symbol:
    """An argument of a class's constructor.

    Attributes:
        name: of the argument.
        values: one for each instance.
        required: whether it has no default.
        default: its default otherwise.
    """

    name: str
    values: Column
    required: bool = True
    default: object = None


def constant(values: Sequence[object]) -> bool:
    """Whether all values are the same, in type as well."""
    first = values[0]
    return all(same(value, first) for value in values)


def same(a: object, b: object) -> bool:
    """Equality that tells 1 from 1.0 and from true."""
    return type(a) is type(b) and a == b


def evaluate(text: str, names: Mapping[str, object]) -> object:
    """The value of an expression of the spec language; LookupError for an unknown name."""
    return _value(ast.parse(text, mode="eval").body, names)


def _value(tree: ast.expr, names: Mapping[str, object]) -> object:
    return Expression(tree, frozenset(), "").value(names)


@dataclass(slots=True)
class Symbols:
    """The arguments a class can have, and the expressions over them.

    Attributes:
        count: number of instances.
        given: channels of the inputs and the block's own parameters, in order.
        pool: expressions of the block's text, to be tried for any number.
        conditions: expressions of its `when:`s, which shift positions in names.
        bare: whether instances of a repeat could as well be written out.
        used: names that some expression has used.
        extra: arguments of their own, by name.
    """

    count: int
    given: Mapping[str, Symbol]
    pool: Sequence[str] = ()
    conditions: Sequence[str] = ()
    bare: bool = True
    used: set[str] = field(default_factory=set)
    extra: dict[str, Symbol] = field(default_factory=dict)

    def signature(self) -> list[Symbol]:
        """What is used, what is required first; otherwise in the order of declaration."""
        chosen = [s for s in self.given.values() if s.name in self.used]
        chosen += [s for s in self.extra.values() if s.name in self.used]
        return [s for s in chosen if s.required] + [s for s in chosen if not s.required]

    def state(self) -> tuple[set[str], dict[str, Symbol]]:
        """What is used so far, to go back to."""
        return set(self.used), dict(self.extra)

    def restore(self, state: tuple[set[str], dict[str, Symbol]]) -> None:
        """Forget what was used since."""
        self.used, self.extra = set(state[0]), dict(state[1])

    def over(self, instances: Sequence[int], index: Sequence[int] | None = None) -> View:
        """Expressions for values of these instances; with `index`, inside a loop over it."""
        return View(self, tuple(instances), None if index is None else tuple(index))


@dataclass(frozen=True, slots=True)
class View:
    """Values of some instances, an instance perhaps several times with a running index."""

    symbols: Symbols
    instances: tuple[int, ...]
    index: tuple[int, ...] | None = None

    def express(
        self, values: Sequence[object], hints: Sequence[str], extra: str | None
    ) -> Code | None:
        """Source that gives these values.

        Args:
            values: one for each entry of the view.
            hints: expressions that the spec has for it, the likeliest first.
            extra: name of an argument of its own, if there is nothing else; None refuses.
        """
        if constant(values):
            return literal(values[0])
        if all(isinstance(value, str) for value in values):
            name = self._name([str(value) for value in values])
            if name is not None:
                return name
        for text in self._candidates(values, hints):
            found = self._fits(text, values)
            if found is not None:
                return found
        if self.index is not None:
            affine = self._affine(values)
            if affine is not None:
                return affine
        return None if extra is None else self._extra(values, extra)

    def condition(self, text: str, values: Sequence[bool]) -> Code | None:
        """Source of a condition that is true where `values` are."""
        found = self._fits(text, values, truth=True)
        return found

    # --- names ---------------------------------------------------------------------------------

    def _name(self, values: Sequence[str]) -> Code | None:
        """An f-string for names that differ in numbers only."""
        rows = [re.split(r"(\d+)", value) for value in values]
        if len({tuple(row[::2]) for row in rows}) > 1:
            return None
        found = []
        for place, part in enumerate(rows[0]):
            if place % 2 == 0:
                found.append(part)
                continue
            numbers = [int(row[place]) for row in rows]
            made = self._position(numbers)
            if made is None:
                return None
            found.append(part if constant(numbers) else f"{{{made}}}")
        return Code(f'f"{"".join(found)}"')

    def _position(self, numbers: Sequence[int]) -> Code | None:
        if constant(numbers):
            return literal(numbers[0])
        if self.index is not None:
            return self._affine(numbers)
        for size in (1, 2, 3):
            for chosen in itertools.combinations(self.symbols.conditions, size):
                made = self._shifted(numbers, chosen)
                if made is not None:
                    return made
        return self.express(numbers, (), None)

    def _shifted(self, numbers: Sequence[int], conditions: Sequence[str]) -> Code | None:
        """A number and how many of these conditions hold."""
        trees = [ast.parse(text, mode="eval").body for text in conditions]
        counts = []
        for instance in self.instances:
            scope = {n: s.values[instance] for n, s in self.symbols.given.items()}
            try:
                counts.append(sum(bool(_value(tree, scope)) for tree in trees))
            except (LookupError, ExpressionError):
                return None
        start = numbers[0] - counts[0]
        if any(number != start + count for number, count in zip(numbers, counts, strict=True)):
            return None
        parts = [self._spelled(tree) for tree in trees]
        texts = [part if part.isidentifier() else f"({part})" for part in parts]
        return Code(" + ".join([*texts, *([str(start)] if start else [])]))

    # --- candidates ----------------------------------------------------------------------------

    def _candidates(self, values: Sequence[object], hints: Sequence[str]) -> Iterator[str]:
        yield from hints
        names = list(self.symbols.given)
        yield from names
        yield from self.symbols.pool
        if not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
            return
        whole = [n for n in names if self._whole(n)]
        for condition in self.symbols.conditions:
            yield from (
                f"{a} if {condition} else {b}"
                for a, b in itertools.permutations([*whole, *self.symbols.pool], 2)
            )
        first = values[0]
        assert isinstance(first, int)
        for name in whole:
            start = self._column(name)[0]
            assert isinstance(start, int)
            if start and first and first % start == 0:
                yield f"{name} * {first // start}"
            if first and start % first == 0:
                yield f"{name} // {start // first}"
            yield f"{name} // 2"
            yield f"({name} - 1) // 2"
            if first != start:
                yield f"{name} + {first - start}" if first > start else f"{name} - {start - first}"
        for a in whole:
            for b in whole:
                if a < b:
                    yield f"{a} + {b}"
                if a != b:
                    yield f"{a} - {b}"
        for text in self.symbols.pool:
            for name in whole:
                yield f"{name} + {text}"
                yield f"{name} - {text}"

    def _whole(self, name: str) -> bool:
        return all(isinstance(v, int) and not isinstance(v, bool) for v in self._column(name))

    def _column(self, name: str) -> Column:
        values = self.symbols.given[name].values
        return tuple(values[i] for i in self.instances)

    # --- trying --------------------------------------------------------------------------------

    def _fits(self, text: str, values: Sequence[object], *, truth: bool = False) -> Code | None:
        try:
            tree = ast.parse(text, mode="eval").body
        except SyntaxError:
            return None
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for position, (instance, value) in enumerate(zip(self.instances, values, strict=True)):
            scope = {n: s.values[instance] for n, s in self.symbols.given.items() if n in names}
            if self.index is not None:
                scope[INDEX] = self.index[position]
            try:
                found = _value(tree, scope)
            except (LookupError, ExpressionError):
                return None
            if truth:
                if bool(found) is not value:
                    return None
            elif not same(found, value):
                return None
        return self._spelled(tree)

    def _spelled(self, tree: ast.expr) -> Code:
        """Source with parameters that never differ as literals."""
        fixed = {n: s.values[0] for n, s in self.symbols.given.items() if constant(s.values)}
        made = _Folder(fixed).visit(copy.deepcopy(tree))
        used = {node.id for node in ast.walk(made) if isinstance(node, ast.Name)}
        self.symbols.used.update(used & self.symbols.given.keys())
        return Code(_unparse(made))

    def _affine(self, values: Sequence[object]) -> Code | None:
        """`start + step * index`, where the step is the same everywhere."""
        assert self.index is not None
        whole = [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
        if len(whole) < len(values):
            return None
        by_instance: dict[int, list[tuple[int, int]]] = {}
        for instance, index, value in zip(self.instances, self.index, whole, strict=True):
            by_instance.setdefault(instance, []).append((index, value))
        steps = {
            (b[1] - a[1], b[0] - a[0])
            for pairs in by_instance.values()
            for a, b in itertools.pairwise(pairs)
        }
        if len(steps) != 1:
            return None
        ((step, stride),) = steps
        if stride != 1 or not step:
            return None
        starts = [pairs[0][1] - step * pairs[0][0] for pairs in by_instance.values()]
        start = self.symbols.over(list(by_instance)).express(starts, (), None)
        if start is None:
            return None
        move = f"{abs(step)} * {INDEX}" if abs(step) != 1 else INDEX
        if start == "0" and step > 0:
            return Code(move)
        return Code(f"{start} {'+' if step > 0 else '-'} {move}")

    def _extra(self, values: Sequence[object], wanted: str) -> Code | None:
        if self.index is not None:
            return None
        full: list[object] = [None] * self.symbols.count
        for instance, value in zip(self.instances, values, strict=True):
            full[instance] = value
        for symbol in self.symbols.extra.values():
            if self._fits_extra(symbol, full):
                self.symbols.used.add(symbol.name)
                return Code(symbol.name)
        wanted = wanted.replace(".", "_")  # of a part of a sequence
        name, number = wanted, 1
        while name in self.symbols.given or name in self.symbols.extra:
            number += 1
            name = f"{wanted}{number}"
        required = all(value is not None for value in full)
        self.symbols.extra[name] = Symbol(name, tuple(full), required)
        self.symbols.used.add(name)
        return Code(name)

    def _fits_extra(self, symbol: Symbol, full: Sequence[object]) -> bool:
        """Whether an argument of its own has the same values in all instances."""
        return all(same(a, b) for a, b in zip(symbol.values, full, strict=True))


# --- source ---------------------------------------------------------------------------------------


class _Folder(ast.NodeTransformer):
    """Puts literals in the place of names that never change, and folds what is constant."""

    def __init__(self, fixed: Mapping[str, object]) -> None:
        self.fixed = fixed

    def visit(self, node: ast.AST) -> Any:
        """From the inside out."""
        node = self.generic_visit(node)
        if isinstance(node, ast.Name) and node.id in self.fixed:
            return tree_of(self.fixed[node.id])
        if isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp)) and not (
            any(isinstance(part, ast.Name) for part in ast.walk(node))
        ):
            return tree_of(_value(node, {}))
        if isinstance(node, ast.BoolOp):  # both take and give true and false only
            neutral = isinstance(node.op, ast.And)
            kept = [v for v in node.values if getattr(v, "value", None) is not neutral]
            return kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)
        return node


def _unparse(tree: ast.AST) -> str:
    """Source, with strings in double quotes as elsewhere."""
    text = ast.unparse(tree)
    return text.replace("'", '"') if '"' not in text else text


def names_of(texts: Iterable[str]) -> set[str]:
    """Every name in these expressions."""
    return {
        node.id
        for text in texts
        for node in ast.walk(ast.parse(text, mode="eval"))
        if isinstance(node, ast.Name)
    }
