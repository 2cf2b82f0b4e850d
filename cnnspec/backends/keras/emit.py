"""Graph -> a standalone Keras file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cnnspec.backends import text
from cnnspec.backends.base import Emitted, Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.groups import Child, Group, Groups, Part, relative, writing
from cnnspec.backends.keras import training, weights
from cnnspec.backends.keras.cells import COLUMN
from cnnspec.backends.keras.defaults import default
from cnnspec.backends.library import Definition, Library, names_in
from cnnspec.backends.symbols import View
from cnnspec.backends.trees import Leaf, Loop
from cnnspec.backends.unify import Mismatch, Spells, patterns, unify
from cnnspec.backends.variables import Names, Plan, plan
from cnnspec.backends.writer import (
    INDENT,
    WIDTH,
    Code,
    Writer,
    apply,
    call,
    literal,
    mark,
    unmarked,
)
from cnnspec.graph import Absent, Graph, Node, Scope, Value
from cnnspec.ops.base import Op, Shape, show

__all__ = ["COLUMN", "emit"]

HELPERS = (
    "initial",
    "activation",
    "conv",
    "grouped",
    "dropout",
    "random",
    "scale",
    "resize",
    "reshape",
    "layers",
    "norm",
    "pool",
    "adaptive_pool",
    "loss",
    "optimizer",
)

IMPORTS = {
    "hashlib": "import hashlib",
    "math": "import math",
    "keras": "import keras",
    "np": "import numpy as np",
}
FROM_KERAS = ("initializers", "layers", "ops")
ENTRY = "build_model"
BOTH = "build_models"
FUNCTIONS = (
    ENTRY, BOTH, "CANONICAL", "load_weights", "logits_model", "save_weights", "weights_by_name",
)  # fmt: skip

LONGEST = 50
"""A block that is repeated more often becomes one layer: Keras recurses along functional paths."""

INSTANCE = "@@"
"""Stands in names of layers for the path of a block instance; no name of a spec has it."""


def library(package: str) -> Library:
    """The helper modules, as text, registered under the name of the network."""
    folder = Path(__file__).parent / "helpers"
    read = Library.read(*(folder / f"{name}.py" for name in HELPERS))
    named = Definition("PACKAGE", f"PACKAGE = {literal(package)}", frozenset())
    return Library([named, *read.closure(read.names)])


def emit(graph: Graph, style: Style) -> Emitted:
    """Write the network, and with `train:` its training functions.

    Raises:
        SpecError: an op that Keras cannot express, or a name that clashes.
    """
    COLUMN.require(graph)
    return writing(lambda apart: _emit(graph, style, apart))


def _emit(graph: Graph, style: Style, apart: frozenset[str]) -> Emitted:
    helpers = library(graph.name)
    shared = _shared(graph)
    groups = Groups(
        graph,
        _speller(graph, style, shared),
        spread=lambda child, scope: _spread(child, shared),
        title=text.snake,
        held=False,
        apart=apart,
    )
    taken = {*helpers.names, *IMPORTS, *FROM_KERAS, *training.NAMES, *FUNCTIONS}
    text.check_clashes(graph, "", groups, taken, "keras")
    file = _File(graph, groups, helpers.names, style)
    body = Writer()
    file.write(body)
    if text.folded(graph):
        body.blank(2)
        _logits_model(graph, body)
    weights.write(graph, body)
    if graph.training is not None:
        training.write(graph, body, random=file.random)
    docstring = f"{graph.name}: {_summary(graph)}"
    writer = text.assemble(docstring, _imports(body, helpers), helpers, body)
    return text.emitted(graph, "keras", ENTRY, writer, weights.slots(graph), groups)


def _imports(body: Writer, helpers: Library) -> dict[str, str]:
    plain = names_in("\n".join(unmarked(line) for line in body.lines))
    used = plain.union(*(d.needs for d in helpers.closure(plain)))
    parts = [name for name in FROM_KERAS if name in used]
    return {**IMPORTS, **dict.fromkeys(parts, f"from keras import {', '.join(parts)}")}


def channels_last(shape: Shape) -> Shape:
    """A shape in Keras' order."""
    return (*shape[1:], shape[0])


def _summary(graph: Graph) -> str:
    """Inputs and outputs; shapes are the spec's, and Keras' own where they differ."""
    turned = [i for i in graph.inputs if len(i.shape) > 1]
    last = ", ".join(
        f"{i.name} {show(channels_last(i.shape))}"
        if len(graph.inputs) > 1
        else show(channels_last(i.shape))
        for i in turned
    )
    line = text.summary_line(graph)
    remarks = (f" (channels last: {last}).", " (channels last).") if turned else ()
    room = WIDTH - len('""""""') - max(len(INDENT), len(graph.name) + 2)
    return next((line + r for r in remarks if len(line + r) <= room), f"{line}.")


# --- the model ---


def _speller(graph: Graph, style: Style, shared: set[str]) -> Callable[[Node[Op]], Spelling]:
    """Cells name a layer by its node's id; inside a block the instance's path stays open."""
    known = {s.path for s in _block_scopes(graph.root) if not _spread(s, shared)}

    def spell(node: Node[Op]) -> Spelling:
        path = node.id
        while path:
            path = path.rpartition(".")[0]
            if path in known:
                inside = replace(node, id=f"{INSTANCE}.{node.id.removeprefix(path + '.')}")
                return COLUMN.spell(inside, style)
        return COLUMN.spell(node, style)

    return spell


def _block_scopes(root: Scope) -> Iterator[Scope]:
    stack = [root]
    while stack:
        scope = stack.pop()
        if scope.kind == "block":
            yield scope
        stack.extend(child for child in scope.children if isinstance(child, Scope))


def _shared(graph: Graph) -> set[str]:
    """Paths of blocks that share their layers, which a function could not."""
    found: set[str] = set()
    for scope in _block_scopes(graph.root):
        if scope.owner is not None:
            found |= {scope.path, scope.owner.path}
    return found


def _spread(child: Scope, shared: set[str]) -> bool:
    """Whether a scope's layers are statements of the function around it."""
    if child.kind == "block":
        return any(f"{child.path}.".startswith(f"{path}.") for path in shared)
    if child.kind == "sequence":
        return child.when is None
    blocks = all(isinstance(c, Scope) and c.kind == "block" for c in child.children)
    return not blocks or any(_spread(c, shared) for c in child.children if isinstance(c, Scope))


class _File:
    """Writes the functions of the blocks, and of the network."""

    def __init__(self, graph: Graph, groups: Groups, helpers: Iterable[str], style: Style) -> None:
        self.graph = graph
        self.groups = groups
        self.before = _earlier_uses(graph)
        functions = {group.name for group in groups.blocks}
        self.taken = {
            *IMPORTS, *FROM_KERAS, *helpers, *training.NAMES, *FUNCTIONS, *functions,
            "name", "index",
        }  # fmt: skip
        self.random = style.random == "counter" and any(n.op.random for n in graph.nodes)
        self.spells = Spells("", "", default)

    def write(self, writer: Writer) -> None:
        if self.random:
            writer.line(f"SEED = {literal(self.graph.seed)}")
            writer.blank(2)
        for group in self.groups.blocks:
            try:
                self._block(writer, group)
            except Mismatch as found:
                raise Mismatch(str(found), group.block) from None
            writer.blank(2)
        self._network(writer)

    # --- blocks --------------------------------------------------------------------------------

    def _block(self, writer: Writer, group: Group) -> None:
        returned = [key for _, key in group.outputs]
        symbols = set(group.symbols.given)
        names = Names({*self.taken, *symbols})
        local = plan(group.inputs, group.parts, returned, names)
        body = Writer(depth=writer.depth + 1)
        self._statements(body, group, local, names)
        group.signature = group.symbols.signature()
        arguments = [*local.arguments, *text.arguments(group.signature), "name"]
        if any("=" in argument for argument in arguments):
            arguments.insert(-1, "*")
        with writer.indented(f"def {group.name}({', '.join(arguments)}):"):
            writer.line(f'"""Block `{group.block}`."""')
            writer.lines.extend(body.lines)
            writer.line(f"return {', '.join(local[key] for key in returned)}")

    # --- the network ---------------------------------------------------------------------------

    def _network(self, writer: Writer) -> None:
        graph, root = self.graph, self.groups.root
        outputs = dict(root.outputs)
        names = Names(self.taken)
        # The inputs are read again by the last line.
        returned = [*outputs.values(), *(key for _, key in root.inputs)]
        local = plan(root.inputs, root.parts, returned, names)
        always = text.always(graph, outputs)
        both = len(always) < len(outputs)
        with writer.indented(f"def {BOTH if both else ENTRY}():"):
            writer.line(f'"""{_summary(graph)}"""')
            for entry in graph.inputs:
                made = call("keras.Input", channels_last(entry.shape), name=entry.name)
                writer.line(f"{local[f'@{entry.name}']} = {made}")
            self._statements(writer, root, local, names)
            sources = _structure({name: local[key] for name, key in root.inputs})
            results = _structure({name: local[key] for name, key in always.items()})
            made = call("keras.Model", sources, results, name=graph.name)
            if not both:
                writer.line(f"return {made}")
                return
            writer.line(f"model = {made}")
            results = _structure({name: local[key] for name, key in outputs.items()})
            made = call("keras.Model", sources, results, name=f"{graph.name}_training")
            writer.line(f"training_model = {made}")
            writer.line("return model, training_model")
        writer.blank(2)
        with writer.indented(f"def {ENTRY}():"):
            writer.line(
                '"""The model for inference; `build_models` has one for training as well."""'
            )
            writer.line(f"return {BOTH}()[0]")

    # --- statements ----------------------------------------------------------------------------

    def _statements(self, writer: Writer, group: Group, local: Plan, names: Names) -> None:
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
        for value in self.before.get(part.child.id, ()):
            earlier = next(p for p in group.parts if value in p.children)
            after = call("After", name=f"{part.child.id}.after")
            others = Code(f"[{fed[0]}, {self.local[earlier.key]}]")
            fed[0] = Code(apply(after, others))
        self._chosen(
            writer,
            target,
            reads[0],
            part.children,
            view,
            lambda child: self._made(child, fed, held),
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
        source: str,
        children: Sequence[Child],
        view: View,
        make: Callable[[Node[Op]], Code],
        name: str,
        key: str,
    ) -> None:
        """`target = layer(source)`, under an `if` where some instances do not have it."""
        there = [i for i, c in enumerate(children) if not isinstance(c, Absent)]
        nodes = [children[i] for i in there]
        condition = self._condition(children, view, name)
        inner = _view(view, there)
        leaves = [
            Leaf(make(node), None, node.expressions) for node in nodes if isinstance(node, Node)
        ]
        made = mark(key, _named(unify(leaves, inner, self.spells, name)))
        if condition is None:
            writer.line(f"{target} = {made}")
            return
        if target != source:
            writer.line(f"{target} = {source}")
        with writer.indented(f"if {condition}:"):
            writer.line(f"{target} = {made}")

    def _condition(self, children: Sequence[Child], view: View, name: str) -> Code | None:
        values = [not isinstance(child, Absent) for child in children]
        if all(values):
            return None
        for text_ in dict.fromkeys(c.when for c in children if c.when is not None):
            found = view.condition(text_, values)
            if found is not None:
                return found
        raise Mismatch(name)

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
        condition = self._condition(part.children, view, part.name)
        leaves = [
            self._construct(c, group.distinct[i], reads)
            for i, c in enumerate(part.children)
            if isinstance(c, Scope)
        ]
        made = _named(unify(leaves, _view(view, there), self.spells, part.name))
        if condition is None:
            writer.line(f"{targets} = {made}")
            return
        if targets != reads[0]:
            writer.line(f"{targets} = {reads[0]}")
        with writer.indented(f"if {condition}:"):
            writer.line(f"{targets} = {made}")

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
        condition = self._condition(children, view, name)
        inner = _view(view, there)
        if condition is not None:
            if target != source:
                writer.line(f"{target} = {source}")
                source = target
            with writer.indented(f"if {condition}:"):
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
                self._chosen(
                    writer, target, source, column, view,
                    lambda child, fed=fed: self._made(child, fed, None), label, own,
                )  # fmt: skip
            elif first.kind == "block":
                around = [group.distinct[i] for i in view.instances]
                leaves = [
                    self._construct(c, a, [Code(source)])
                    for c, a in zip(column, around, strict=True)
                    if isinstance(c, Scope)
                ]
                places = [i for i, c in enumerate(column) if isinstance(c, Scope)]
                made = _named(unify(leaves, _view(view, places), self.spells, label))
                condition = self._condition(column, view, label)
                if condition is None:
                    writer.line(f"{target} = {made}")
                else:
                    if target != source:
                        writer.line(f"{target} = {source}")
                    with writer.indented(f"if {condition}:"):
                        writer.line(f"{target} = {made}")
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
                title = (
                    scopes[0].path
                    if scopes[0].kind == "repeat"
                    else f"{scopes[0].children[0].path}.chain"
                )
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


def _earlier_uses(graph: Graph) -> dict[str, tuple[Value, ...]]:
    """For a later use of shared statistics, the use before it, where no wire says so.

    Keras runs a functional model by depth and not in the order of its text, and running
    statistics that are shared move with each use in order.
    """
    last: dict[str, Node[Op]] = {}
    found: dict[str, tuple[Value, ...]] = {}
    shared = {node.weights_id for node in graph.nodes if node.owner is not None}
    for node in graph.nodes:
        if node.weights_id not in shared or not any(param.statistic for param in node.params):
            continue
        previous = last.get(node.weights_id)
        if previous is not None and not _reaches(previous, node):
            found[node.id] = (previous,)
        last[node.weights_id] = node
    return found


def _reaches(source: Value, target: Node[Op]) -> bool:
    """Whether one value goes into another, however many layers lie between."""
    queue: list[Value] = list(target.inputs)
    seen: set[str] = set()
    while queue:
        value = queue.pop()
        if value is source:
            return True
        if isinstance(value, Node) and value.id not in seen:
            seen.add(value.id)
            queue.extend(value.inputs)
    return False


def _structure(values: dict[str, str]) -> Code:
    return text.returned({name: Code(value) for name, value in values.items()})


def _logits_model(graph: Graph, writer: Writer) -> None:
    """The same layers, up to what goes into the activations that the losses fold."""
    with writer.indented("def logits_model(model):"):
        writer.line('"""The same layers without the last activation, which the loss contains."""')
        sources = {
            name: f"model.get_layer({literal(node.id)}).input"
            for name, node in text.folded(graph).items()
        }
        if len(graph.outputs) == 1:
            (result,) = sources.values()
            writer.line(f"return keras.Model(model.input, {result})")
            return
        entries = ", ".join(f"{literal(name)}: {value}" for name, value in sources.items())
        writer.line(f"outputs = {{**model.output, {entries}}}")
        writer.line("return keras.Model(model.input, outputs)")
