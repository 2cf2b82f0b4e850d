"""Graph -> a standalone Keras file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from cnnspec.backends import text
from cnnspec.backends.base import Emitted, Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.groups import Group, Groups, writing
from cnnspec.backends.keras import training, weights
from cnnspec.backends.keras.cells import COLUMN
from cnnspec.backends.keras.cells.conv import common_padding, convolution
from cnnspec.backends.keras.statements import INSTANCE, Statements
from cnnspec.backends.keras.uses import earlier_uses
from cnnspec.backends.library import Definition, Library, names_in
from cnnspec.backends.unify import Mismatch
from cnnspec.backends.variables import Names, plan
from cnnspec.backends.writer import (
    INDENT,
    WIDTH,
    Code,
    Writer,
    call,
    literal,
    unmarked,
)
from cnnspec.graph import Graph, Node, Scope
from cnnspec.ops.base import Op, Shape, show
from cnnspec.ops.conv import Conv

__all__ = ["COLUMN", "emit"]

HELPERS = (
    "initial",
    "activation",
    "conv",
    "grouped",
    "dropout",
    "random",
    "scale",
    "merge",
    "resize",
    "reshape",
    "layers",
    "norm",
    "pool",
    "adaptive_pool",
    "loss",
    "optimizer",
    "adaptive",
    "moments",
    "after_update",
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


def library(package: str, more: Iterable[Path] = ()) -> Library:
    """The helper modules, as text, registered under the name of the network; plug-ins' as well."""
    folder = Path(__file__).parent / "helpers"
    read = Library.read(*(folder / f"{name}.py" for name in HELPERS), *more)
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
    helpers = library(graph.name, COLUMN.helpers(graph))
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
    blocks = {s.path: s.block for s in _block_scopes(graph.root) if not _spread(s, shared)}

    def around(node: Node[Op]) -> str:
        """The path of the block instance in whose function a node is written."""
        path = node.id.rpartition(".")[0]
        while path and path not in blocks:
            path = path.rpartition(".")[0]
        return path

    instances: dict[tuple[str | None, str], list[Node[Conv]]] = {}
    for node in graph.nodes:
        path = around(node)
        if path and isinstance(node.op, Conv):
            own = (blocks[path], node.id.removeprefix(f"{path}."))
            instances.setdefault(own, []).append(cast(Node[Conv], node))
    padding: dict[str, Literal["same", "zeros"] | None] = {}
    for nodes in instances.values():
        padding |= dict.fromkeys((node.id for node in nodes), common_padding(nodes))

    def spell(node: Node[Op]) -> Spelling:
        path = around(node)
        if not path:
            return COLUMN.spell(node, style)
        inside = replace(node, id=f"{INSTANCE}.{node.id.removeprefix(path + '.')}")
        common = padding.get(node.id)
        if common is None:
            return COLUMN.spell(inside, style)
        return convolution(cast(Node[Conv], inside), style, common=common)

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
    inside = any(f"{child.path}.".startswith(f"{path}.") for path in shared)
    if child.kind == "block":
        return inside
    if child.kind == "sequence":
        return child.when is None or inside
    blocks = all(isinstance(c, Scope) and c.kind == "block" for c in child.children)
    return not blocks or any(_spread(c, shared) for c in child.children if isinstance(c, Scope))


class _File:
    """Writes the functions of the blocks, and of the network."""

    def __init__(self, graph: Graph, groups: Groups, helpers: Iterable[str], style: Style) -> None:
        self.graph = graph
        self.groups = groups
        self.statements = Statements(groups, earlier_uses(graph))
        functions = {group.name for group in groups.blocks}
        self.taken = {
            *IMPORTS, *FROM_KERAS, *helpers, *training.NAMES, *FUNCTIONS, *functions,
            "name", "index",
        }  # fmt: skip
        self.random = style.random == "counter" and any(n.op.random for n in graph.nodes)

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
        self.statements.write(body, group, local, names)
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
            self.statements.write(writer, root, local, names)
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
