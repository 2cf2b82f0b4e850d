"""One text for a layer's constructor in all instances of a class."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cnnspec.backends.symbols import INDEX, View, evaluate
from cnnspec.backends.trees import Chain, Leaf, Loop, Maybe, Tree
from cnnspec.backends.writer import Call, Code, code, literal, mark

CHANNELS = "@channels"
"""The hint that says how the layer before has spelled the channels that go in."""


class Mismatch(Exception):  # it is an answer, and no fault of ours
    """The instances cannot share one text.

    Attributes:
        block: the block of the class that was being written, once that is known.
    """

    def __init__(self, name: str, block: str | None = None) -> None:
        super().__init__(name)
        self.block = block


@dataclass(frozen=True, slots=True)
class Spells:
    """What is a back end's own in constructors.

    Attributes:
        sequential: name of the container of a chain.
        identity: what stands for a layer that is taken out.
        defaults: (function, argument) -> the value that is meant where it is not written.
        named: whether a container takes a dict of names; else layers are added one by one.
        wraps: what makes a layer of a function that is held by itself.
    """

    sequential: str
    identity: str
    defaults: Callable[[str, str], object]
    named: bool = False
    wraps: str | None = None


def unify(trees: Sequence[Tree], view: View, spells: Spells, name: str) -> Code:
    """Source of a constructor.

    Args:
        trees: one for each entry of the view.
        view: of the instances of the class.
        spells: of the back end.
        name: of the layer, for an argument of its own.

    Raises:
        Mismatch: there is no one text.
    """
    first = trees[0]
    if any(isinstance(tree, Maybe) for tree in trees):
        return _maybe(trees, view, spells, name)
    if any(type(tree) is not type(first) for tree in trees):
        raise Mismatch(name)
    if isinstance(first, Leaf):
        leaves = [tree for tree in trees if isinstance(tree, Leaf)]
        made = _codes([leaf.code for leaf in leaves], view, spells, name, _hints(leaves))
        return made if first.key is None else mark(first.key, made)
    if isinstance(first, Chain):
        chains = [tree for tree in trees if isinstance(tree, Chain)]
        return _chain(chains, view, spells, name)
    raise Mismatch(name)


def _hints(leaves: Sequence[Leaf]) -> Mapping[str, str]:
    """The expressions that all instances agree on."""
    first = leaves[0].hints
    return {n: t for n, t in first.items() if all(leaf.hints.get(n) == t for leaf in leaves)}


def _codes(
    codes: Sequence[Code], view: View, spells: Spells, name: str, hints: Mapping[str, str]
) -> Code:
    first = codes[0]
    if all(entry == first for entry in codes):
        return first
    calls = [entry for entry in codes if isinstance(entry, Call)]
    if len(calls) < len(codes):
        raise Mismatch(name)
    head = calls[0]
    if any(len(c.args) != len(head.args) for c in calls):
        raise Mismatch(name)
    function = _function(calls, view, spells, name, hints)
    parts = [
        _values([c.args[i] for c in calls], view, spells, name, _for(hints, i), f"{name}_{i}")
        for i in range(len(head.args))
    ]
    for key in _keywords(calls):
        values = [
            c.kwargs[key] if key in c.kwargs else spells.defaults(head.function, key) for c in calls
        ]
        if any(value is MISSING for value in values):
            raise Mismatch(name)
        made = _values(values, view, spells, name, hints, f"{name}_{key}", key)
        parts.append(Code(f"{key}={made}"))
    return Code(f"{function}({', '.join(parts)})")


def _for(hints: Mapping[str, str], position: int) -> Mapping[str, str]:
    """The likeliest first: constructors begin with the channels that go in."""
    if position or CHANNELS not in hints:
        return hints
    return {CHANNELS: hints[CHANNELS], **hints}


def _function(
    calls: Sequence[Call], view: View, spells: Spells, name: str, hints: Mapping[str, str]
) -> Code:
    """What is called: the same in all, or a layer that is made and called at once."""
    made = [c.function for c in calls if isinstance(c.function, Call)]
    if len(made) == len(calls):
        return _codes(made, view, spells, name, hints)
    if made or any(c.function != calls[0].function for c in calls):
        raise Mismatch(name)
    return Code(calls[0].function)


class _Missing:
    """The type of `MISSING`."""


MISSING = _Missing()
"""There is no default that stands for an argument that is not written."""


def _keywords(calls: Sequence[Call]) -> list[str]:
    """Every keyword, each behind what comes before it in its call."""
    found: list[str] = []
    for entry in calls:
        position = 0
        for key in entry.kwargs:
            if key in found:
                position = found.index(key) + 1
            else:
                found.insert(position, key)
                position += 1
    return found


def _values(
    values: Sequence[object],
    view: View,
    spells: Spells,
    name: str,
    hints: Mapping[str, str],
    extra: str,
    key: str | None = None,
) -> Code:
    if all(isinstance(value, Code) for value in values):
        codes = [value for value in values if isinstance(value, Code)]
        return _codes(codes, view, spells, name, hints)
    if any(isinstance(value, Code) for value in values):
        raise Mismatch(name)
    own = [hints[key]] if key is not None and key in hints else []
    # The name of a Keras layer starts with that of its block, which no caller knows.
    made = view.express(values, [*own, *hints.values()], None if key == "name" else extra)
    if made is None:
        raise Mismatch(name)
    return made


# --- layers that may be absent -------------------------------------------------------------------


def _maybe(trees: Sequence[Tree], view: View, spells: Spells, name: str) -> Code:
    there, condition = present(trees, view, name)
    inner = unify([tree for _, tree in there], view_of(view, [i for i, _ in there]), spells, name)
    if condition is None:
        return inner
    return Code(f"{inner} if {condition} else {spells.identity}")


def present(
    trees: Sequence[Tree], view: View, name: str
) -> tuple[list[tuple[int, Tree]], Code | None]:
    """The trees that are there, with their places, and the condition; None where all are there."""
    there: list[tuple[int, Tree]] = []
    texts: list[str] = []
    for place, tree in enumerate(trees):
        if isinstance(tree, Maybe):
            texts.append(tree.when)
            if tree.tree is not None:
                there.append((place, tree.tree))
        else:
            there.append((place, tree))
    if len(there) == len(trees):
        return there, None
    if not there:
        raise Mismatch(name)
    places = {place for place, _ in there}
    values = [place in places for place in range(len(trees))]
    for text in dict.fromkeys(texts):
        condition = view.condition(text, values)
        if condition is not None:
            return there, condition
    raise Mismatch(name)


def view_of(view: View, places: Sequence[int]) -> View:
    """A view of some entries."""
    return View(
        view.symbols,
        tuple(view.instances[i] for i in places),
        None if view.index is None else tuple(view.index[i] for i in places),
    )


# --- chains and loops ----------------------------------------------------------------------------


def _chain(chains: Sequence[Chain], view: View, spells: Spells, name: str) -> Code:
    if any(chain.names is not None for chain in chains):
        if not spells.named:
            raise Mismatch(name)
        inside = ", ".join(named_entries(chains, view, spells, name))
        return Code(f"{spells.sequential}({{{inside}}})")
    return Code(f"{spells.sequential}({', '.join(entries(chains, view, spells, name))})")


def named_entries(chains: Sequence[Chain], view: View, spells: Spells, name: str) -> list[Code]:
    """The entries of a container's dict: names with layers, loops in a `**{...}`."""
    names = chains[0].names
    if names is None or any(chain.names != names for chain in chains):
        raise Mismatch(name)
    found: list[Code] = []
    for position, own in enumerate(names):
        trees = [chain.items[position] for chain in chains]
        label = f"{name}_{own or position}"
        if all(isinstance(tree, Maybe) and tree.tree is None for tree in trees):
            continue
        if all(isinstance(tree, Loop) for tree in trees):
            loops = [tree for tree in trees if isinstance(tree, Loop)]
            found += [Code(entry) for entry in named_loop(loops, view, spells, label)]
        else:
            found.append(Code(f"{literal(own)}: {unify(trees, view, spells, label)}"))
    return found


def named_loop(loops: Sequence[Loop], view: View, spells: Spells, name: str) -> list[Code]:
    """Instances with names, as entries of a dict."""
    named, key = loops[0].named, loops[0].key
    if named is None or any(one.named != named for one in loops):
        raise Mismatch(name)
    for lead, between, tail in patterns(loops, view, spells, name):
        found = [f"{instance_name(named, k)}: {made}" for k, made in enumerate(lead)]
        if between is not None:
            made, span = between
            found.append(f'**{{f"{named}": {made} for {INDEX} in {span.over(len(lead))}}}')
        start = len(loops[0].items) - len(tail)
        found += [f"{instance_name(named, k)}: {made}" for k, made in enumerate(tail, start)]
        if key is not None:
            found[0] = mark(key, found[0])
        return [Code(entry) for entry in found]
    raise Mismatch(name)


def instance_name(named: str, index: int) -> Code:
    """The name of one instance, from the text of an f-string over `index`."""
    text, rest = "", named
    while "{" in rest:
        before, _, rest = rest.partition("{")
        expression, _, rest = rest.partition("}")
        text += before + str(evaluate(expression, {INDEX: index}))
    return literal(text + rest)


def entries(chains: Sequence[Chain], view: View, spells: Spells, name: str) -> list[Code]:
    """The arguments of a container: layers, loops in a `*(...)`, conditional ones in a list."""
    if len({len(chain.items) for chain in chains}) > 1:
        raise Mismatch(name)
    found: list[Code] = []
    done = -1
    for position in range(len(chains[0].items)):
        trees = [chain.items[position] for chain in chains]
        label = f"{name}_{position}"
        if position == done:
            continue
        if position + 1 < len(chains[0].items):
            following = [chain.items[position + 1] for chain in chains]
            either = _either(trees, following, view, spells, label)
            if either is not None:
                found.append(either)
                done = position + 1
                continue
        if all(isinstance(tree, Maybe) and tree.tree is None for tree in trees):
            continue
        if any(isinstance(tree, Maybe) for tree in trees):
            there, condition = present(trees, view, label)
            inner = view_of(view, [i for i, _ in there])
            made = _elements([tree for _, tree in there], inner, spells, label)
            if condition is None:
                found += made
            else:
                found.append(Code(f"*([{', '.join(made)}] if {condition} else [])"))
            continue
        found += _elements(trees, view, spells, label)
    return found


def _either(
    trees: Sequence[Tree], others: Sequence[Tree], view: View, spells: Spells, name: str
) -> Code | None:
    """One layer or the other, where every instance has exactly one of two."""
    pairs = list(zip(trees, others, strict=True))
    if not all(isinstance(a, Maybe) and isinstance(b, Maybe) for a, b in pairs):
        return None
    first = [i for i, (a, _) in enumerate(pairs) if isinstance(a, Maybe) and a.tree is not None]
    second = [i for i, (_, b) in enumerate(pairs) if isinstance(b, Maybe) and b.tree is not None]
    if not first or not second or sorted(first + second) != list(range(len(pairs))):
        return None
    there, condition = present(trees, view, name)
    rest, _ = present(others, view, name)
    if any(isinstance(tree, Loop) for _, tree in (*there, *rest)):
        return None
    made = unify([tree for _, tree in there], view_of(view, first), spells, name)
    other = unify([tree for _, tree in rest], view_of(view, second), spells, name)
    return Code(f"{made} if {condition} else {other}")


def _elements(trees: Sequence[Tree], view: View, spells: Spells, name: str) -> list[Code]:
    if all(isinstance(tree, Loop) for tree in trees):
        loops = [tree for tree in trees if isinstance(tree, Loop)]
        return loop(loops, view, spells, name)
    return [unify(trees, view, spells, name)]


SHORT = 2
"""So many instances that differ are not worth a loop."""


def loop(loops: Sequence[Loop], view: View, spells: Spells, name: str) -> list[Code]:
    """The instances of a repeated layer: written out at the ends, a comprehension between."""
    key = loops[0].key
    for lead, between, tail in patterns(loops, view, spells, name):
        found = list(lead)
        if between is not None:
            made, span = between
            found.append(Code(f"*({made} for {span.variable} in {span.range})"))
        found += tail
        if key is not None:
            found[0] = Code(mark(key, found[0]))
        return found
    raise Mismatch(name)


@dataclass(frozen=True, slots=True)
class Span:
    """What a loop runs over.

    Attributes:
        variable: of the loop.
        range: of so many instances; from the first one's index where the index is used.
        stop: the index behind the last one.
    """

    variable: str
    range: Code
    stop: Code

    def over(self, lead: int) -> Code:
        """The range with the index of each instance, `lead` of which come before the loop."""
        if self.variable == INDEX or not lead:
            return self.range
        return Code(f"range({lead}, {self.stop})")


def patterns(
    loops: Sequence[Loop], view: View, spells: Spells, name: str, *, written: bool = True
) -> list[tuple[list[Code], tuple[Code, Span] | None, list[Code]]]:
    """The best way to write a repeated layer, as a list of one, or of none.

    Args:
        loops: one for each entry of the view.
        view: of the instances of the class.
        spells: of the back end.
        name: of the layer.
        written: whether every instance may be written out, where nothing else is left.
    """
    least = min(len(entry.items) for entry in loops)
    before = view.symbols.state()
    for ends in ((0, 0), (1, 0), (0, 1), (1, 1)):
        if sum(ends) > least:
            continue
        try:
            return [_pattern(loops, view, spells, name, *ends)]
        except Mismatch:
            view.symbols.restore(before)
    if not written or len({len(entry.items) for entry in loops}) > 1:
        return []
    try:
        out = [
            unify([entry.items[k] for entry in loops], view, spells, f"{name}_{k}")
            for k in range(least)
        ]
    except Mismatch:
        return []
    return [(out, None, [])]


def _pattern(
    loops: Sequence[Loop], view: View, spells: Spells, name: str, lead: int, tail: int
) -> tuple[list[Code], tuple[Code, Span] | None, list[Code]]:
    middles = [entry.items[lead : len(entry.items) - tail] for entry in loops]
    lengths = [len(middle) for middle in middles]
    constant = len(set(lengths)) == 1
    if constant and lengths[0] <= 1:
        first = [[entry.items[k] for entry in loops] for k in range(len(loops[0].items))]
        return [unify(trees, view, spells, name) for trees in first], None, []
    inside = View(
        view.symbols,
        tuple(i for i, n in zip(view.instances, lengths, strict=True) for _ in range(n)),
        tuple(lead + k for n in lengths for k in range(n)),
    )
    made = unify([tree for middle in middles for tree in middle], inside, spells, name)
    count: Code | None = None
    if not constant:
        texts = dict.fromkeys(entry.count for entry in loops if entry.count is not None)
        totals = [len(entry.items) for entry in loops]
        for text in texts:
            count = view.express(totals, [text], None)
            if count is not None:
                break
        if count is None:
            raise Mismatch(name)
    total = literal(len(loops[0].items)) if count is None else count
    uses = _uses_index(made)
    if uses and constant and lengths[0] <= SHORT and view.symbols.bare:
        raise Mismatch(name)  # written out it is as short, and plainer
    span = _span(total, lead, tail, lengths[0] if constant else None, uses=uses)
    heads = [unify([entry.items[k] for entry in loops], view, spells, name) for k in range(lead)]
    ends = [
        unify([entry.items[-k] for entry in loops], view, spells, name) for k in range(tail, 0, -1)
    ]
    return heads, (made, span), ends


def _uses_index(made: str) -> bool:
    return re.search(rf"\b{INDEX}\b", made) is not None


def _span(total: Code, lead: int, tail: int, length: int | None, *, uses: bool) -> Span:
    stop = _less(total, tail) if length is None else literal(lead + length)
    if uses:
        return Span(INDEX, Code(f"range({lead}, {stop})" if lead else f"range({stop})"), stop)
    number = _less(total, lead + tail) if length is None else literal(length)
    return Span("_", Code(f"range({number})"), stop)


def _less(total: Code, number: int) -> Code:
    """A number of instances without some of them."""
    if not number:
        return total
    binds = isinstance(ast.parse(total, mode="eval").body, ast.Name | ast.Call | ast.BinOp)
    return Code(f"{total} - {number}" if binds else f"({total}) - {number}")


__all__ = [
    "MISSING",
    "Mismatch",
    "Span",
    "Spells",
    "code",
    "entries",
    "instance_name",
    "loop",
    "named_entries",
    "named_loop",
    "patterns",
    "present",
    "unify",
    "view_of",
]
