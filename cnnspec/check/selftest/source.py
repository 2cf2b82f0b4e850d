"""Emitted text as a tree whose pieces are known to belong to layers, or to training."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cnnspec.backends.base import Emitted, Place
from cnnspec.check.selftest.edit import Edit, Text
from cnnspec.graph import Graph

Kind = Literal["layer", "helper", "training"]

TRAINING = (
    "loss_sum",
    "loss_gradient",
    "make_optimizer",
    "learning_rate",
    "train_step",
    "clip",
)
"""Functions of a text that make a training step, together with what they call."""

ASIDE = frozenset(
    {
        "compute_output_shape",
        "get_config",
        "load_state",
        "load_weights",
        "save_weights",
        "tiles",  # how many rows at a time, which changes the order of a sum and nothing else
        "walk",
    }
)
"""Functions that say nothing about what is computed."""
BASES = frozenset({"Layer", "Model", "Sequential", "Apply", "PaddedPool", "AdaptivePool"})


@dataclass(frozen=True, slots=True)
class Region:
    """A piece of text, and the layers that it belongs to.

    Attributes:
        kind: of a layer alone, of a helper that layers use, or of training.
        start: in bytes.
        end: exclusive.
        nodes: ids of the layers; none for training.
    """

    kind: Kind
    start: int
    end: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault that can be planted.

    Attributes:
        operator: what kind of fault it is.
        backend: whose text it is in.
        edits: that plant it.
        line: of the text.
        change: what stands there, and what is planted, for people.
        kind: of the region.
        nodes: the layers that it may show in.
    """

    operator: str
    backend: str
    edits: tuple[Edit, ...]
    line: int
    change: str
    kind: Kind
    nodes: tuple[str, ...]


@dataclass(slots=True)
class Source:
    """A text, its tree, and whose each piece is."""

    emitted: Emitted
    graph: Graph
    text: Text = field(init=False)
    tree: ast.Module = field(init=False)
    parents: dict[ast.AST, ast.AST] = field(init=False, default_factory=dict)
    regions: list[Region] = field(init=False)

    def __post_init__(self) -> None:
        self.text = Text(self.emitted.text)
        self.tree = ast.parse(self.emitted.text)
        for parent in ast.walk(self.tree):
            self.parents |= dict.fromkeys(ast.iter_child_nodes(parent), parent)
        self.regions = list(self._regions())

    # --- whose is it ---------------------------------------------------------------------------

    def _regions(self) -> Iterator[Region]:
        definitions = {
            item.name: item
            for item in self.tree.body
            if isinstance(item, (ast.FunctionDef, ast.ClassDef))
        }
        reached: dict[str, dict[str, None]] = {}
        models: set[ast.AST] = set()
        for id in self.emitted.lines:
            for piece in self.pieces(id):
                yield Region("layer", *self.text.span(piece), (id,))
                models.add(self._outermost(piece))
                for name in reach(names(piece), definitions):
                    reached.setdefault(name, {})[id] = None
        helpers = {n: ids for n, ids in reached.items() if definitions[n] not in models | {None}}
        for name, ids in helpers.items():
            if name not in BASES | ASIDE:
                yield Region("helper", *self.text.span(definitions[name]), tuple(ids))
        for name in reach(TRAINING, definitions):
            if name not in helpers and definitions[name] not in models and name not in ASIDE:
                yield Region("training", *self.text.span(definitions[name]), ())

    def pieces(self, id: str) -> Iterator[ast.expr]:
        """What a layer is written as: its expression, and what makes the object that it calls."""
        expression = self.expression(self.emitted.lines[id])
        if expression is None:
            return
        yield expression
        called = {
            node.attr
            for node in ast.walk(expression)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
        variables = names(expression)
        for scope in self.enclosing(expression):
            for node in ast.walk(scope):
                if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
                    continue
                (target, *_) = node.targets
                own = isinstance(scope, ast.ClassDef) and isinstance(target, ast.Attribute)
                if own and isinstance(target, ast.Attribute) and target.attr in called:
                    yield node.value
                if (
                    isinstance(scope, ast.FunctionDef)
                    and isinstance(target, ast.Name)
                    and target.id in variables
                    and not self._computes(node.value)
                    and self.text.source(node.value.func) != "keras.Input"
                ):
                    yield node.value

    def _computes(self, value: ast.expr) -> bool:
        """Whether an expression is a value on the way, and makes no layer."""
        span = self.text.span(value)
        return any(self.text.ends(place.range) == span for place in self.emitted.lines.values())

    def expression(self, place: Place) -> ast.expr | None:
        """The expression at a place."""
        wanted = self.text.ends(place.range)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.expr) and self.text.span(node) == wanted:
                return node
        return None

    def enclosing(self, node: ast.AST) -> Iterator[ast.FunctionDef | ast.ClassDef]:
        """The definitions around it, from the inside out."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield node

    def _outermost(self, node: ast.AST) -> ast.AST:
        return [node, *self.enclosing(node)][-1]

    # --- what is in it -------------------------------------------------------------------------

    def inside(self, *kinds: Kind) -> Iterator[tuple[ast.expr | ast.stmt, Region]]:
        """Every expression and statement of these kinds of regions, with the smallest around it.

        Where all is frozen no update is made, so that nothing follows from how one is made.
        """
        if not self.graph.trains():
            kinds = tuple(kind for kind in kinds if kind != "training")
        skipped: set[ast.AST] = set()
        for node in ast.walk(self.tree):
            if node in skipped or _aside(node):
                skipped.update(ast.iter_child_nodes(node))
                continue
            if not isinstance(node, (ast.expr, ast.stmt)):
                continue
            start, end = self.text.span(node)
            around = [r for r in self.regions if r.start <= start and end <= r.end]
            if around:
                smallest = min(r.end - r.start for r in around)
                same = [r for r in around if r.end - r.start == smallest]
                if same[0].kind in kinds:
                    ids = dict.fromkeys(id for r in same for id in r.nodes)
                    yield node, Region(same[0].kind, same[0].start, same[0].end, tuple(ids))

    def replacing(
        self, operator: str, node: ast.AST, new: str, region: Region, *more: tuple[ast.AST, str]
    ) -> Mutant:
        """The mutant in which an expression or statement reads otherwise."""
        pairs = ((node, new), *more)
        edits = tuple(Edit(*self.text.span(each), text) for each, text in pairs)
        change = ", ".join(f"{self.text.source(each)} -> {text}" for each, text in pairs)
        assert isinstance(node, (ast.expr, ast.stmt, ast.keyword))
        return Mutant(
            operator, self.emitted.backend, edits, node.lineno, change, region.kind, region.nodes
        )


def _aside(node: ast.AST) -> bool:
    """Whether nothing in it is computed: refusals, doc strings, annotations, what is saved."""
    if isinstance(node, (ast.Raise, ast.Assert)):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise):
        return True
    return isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in ASIDE


def names(tree: ast.AST) -> set[str]:
    """Every name that is read in it."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def reach(
    roots: Iterable[str], definitions: Mapping[str, ast.FunctionDef | ast.ClassDef]
) -> dict[str, None]:
    """The definitions that these names stand for, and those that these use, in turn."""
    found: dict[str, None] = {}
    waiting = [name for name in sorted(roots) if name in definitions]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += [n for n in sorted(names(definitions[name])) if n in definitions]
    return found
