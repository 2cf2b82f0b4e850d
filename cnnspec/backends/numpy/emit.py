"""Graph -> a standalone NumPy file with forward and backward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnspec.backends import text
from cnnspec.backends.base import Emitted, Style
from cnnspec.backends.library import Library
from cnnspec.backends.numpy import initial, training
from cnnspec.backends.numpy.backward import write_backward
from cnnspec.backends.numpy.cells import COLUMN
from cnnspec.backends.opening import opened
from cnnspec.backends.variables import Item, Names, Plan, items, plan
from cnnspec.backends.writer import Code, Writer, literal, mark
from cnnspec.graph import Graph, Node, Scope, Value
from cnnspec.ops.base import Op, show

__all__ = ["COLUMN", "emit"]

KERNELS = (
    "base",
    "window",
    "conv",
    "pool",
    "dense",
    "rbf",
    "norm",
    "activation",
    "merge",
    "reshape",
    "dropout",
    "initializer",
    "loss",
    "optimizer",
)

IMPORTS = {
    "hashlib": "import hashlib",
    "math": "import math",
    "np": "import numpy as np",
    "special": "from scipy import special",
}

LOCALS = ("backward", "g", "gradients", "logits_backward", "outputs", "self", "training")


def library() -> Library:
    """The kernels, as text."""
    folder = Path(__file__).parent / "kernels"
    return Library.read(*(folder / f"{name}.py" for name in KERNELS))


def emit(graph: Graph, style: Style) -> Emitted:
    """Write the network, and with `train:` its training functions.

    Raises:
        SpecError: an op that NumPy cannot express, or a name that clashes.
    """
    COLUMN.require(graph)
    kernels = library()
    entry = text.camel(graph.name)
    text.check_clash(graph, entry, {*kernels.names, *IMPORTS, *training.NAMES}, "numpy")
    module = _Module(graph, style, entry, kernels)
    body = Writer()
    module.write(body)
    if graph.training is not None:
        training.write(graph, body, random=module.random)
    docstring = f"{graph.name}: {text.summary_line(graph)}."
    writer = text.assemble(docstring, IMPORTS, kernels, body)
    slots = text.canonical_slots(graph)
    return text.emitted(graph, "numpy", entry, writer, slots, module.held)


class _Module:
    """Writes the class of the network."""

    def __init__(self, graph: Graph, style: Style, entry: str, kernels: Library) -> None:
        self.graph = graph
        self.style = style
        self.entry = entry
        self.taken = {*LOCALS, *IMPORTS, *kernels.names, *training.NAMES, entry}
        self.held: dict[str, str] = {}
        self.body = items(graph.root)
        self.folded = text.folded(graph)
        random = any(node.op.random for node in graph.nodes)
        self.random = random and style.random == "counter"
        self.generator = random and style.random == "framework"

    def write(self, writer: Writer) -> None:
        if self.random:
            writer.line(f"SEED = {literal(self.graph.seed)}")
            writer.blank(2)
        base = "CounterModel" if self.random else "Model"
        with writer.indented(f"class {self.entry}({base}):"):
            writer.line(f'"""{text.summary_line(self.graph)}."""')
            writer.blank()
            self._constructor(writer)
            writer.blank()
            self._forward(writer)

    # --- the constructor -----------------------------------------------------------------------

    def _constructor(self, writer: Writer) -> None:
        initial_lines = Writer(depth=writer.depth + 1)
        draws = initial.write(self.graph, initial_lines) and any(
            "rng" in line for line in initial_lines.lines
        )
        signature = "self, seed=None" if draws or self.generator else "self"
        with writer.indented(f"def __init__({signature}):"):
            before = len(writer.lines)
            if draws or self.generator:
                writer.line("rng = np.random.default_rng(seed)")
            for item in self.body:
                self._attribute(writer, item.child)
            if initial_lines.lines:
                writer.blank()
                writer.lines.extend(initial_lines.lines)
            if self.random:
                writer.line("self.name_random_layers()")
            if len(writer.lines) == before:
                writer.line("pass")

    def _attribute(self, writer: Writer, child: Node[Op] | Scope) -> None:
        if isinstance(child, Scope):
            if child.owner is None:
                writer.line(f"self.{child.name} = {self._container(child)}")
            return
        spelling = COLUMN.spell(child, self.style)
        if spelling.call is None and child.owner is None:
            assert spelling.layer is not None
            writer.line(f"self.{child.name} = {spelling.layer}")

    def _container(self, scope: Scope) -> Code:
        held = [(child.name, self._held(child)) for child in scope.children]
        if all(name == str(index) for index, (name, _) in enumerate(held)):
            return Code(f"Sequential({', '.join(layer for _, layer in held)})")
        named = ", ".join(f"{literal(name)}: {layer}" for name, layer in held)
        return Code(f"Sequential({{{named}}})")

    def _held(self, child: Node[Op] | Scope) -> Code:
        if isinstance(child, Scope):
            return self._container(child)
        spelling = COLUMN.spell(child, self.style)
        assert spelling.layer is not None, f"{child.op.key} inside a sequence"
        self.held[child.id] = child.id
        return mark(child.id, spelling.layer)

    # --- forward and backward ------------------------------------------------------------------

    def _forward(self, writer: Writer) -> None:
        outputs = {o.name: o.value for o in self.graph.outputs}
        if not self.folded:
            self._method(writer, "forward", "Outputs, and their backward.", self.body, outputs)
            return
        nodes = list(self.folded.values())
        users = self.graph.users()
        inside = any(text.enclosing(self.graph, node) for node in nodes)
        if not inside and not any(users[node.id] for node in nodes):
            last = {node.id for node in nodes}
            body = [item for item in self.body if item.value.id not in last]
            what = "What the loss reads, and its backward."
            self._method(writer, "logits", what, body, self.graph.logits())
            writer.blank()
            self._forward_on_logits(writer)
            return
        # The last activation is read inside, or held by a sequence: two full passes.
        self._method(writer, "forward", "Outputs, and their backward.", self.body, outputs)
        writer.blank()
        body, calls = opened(
            self.graph,
            self.body,
            nodes,
            lambda container: f"{container}.part(0, -1)",
            lambda container: f"{container}.last()",
            lambda container: f"{container}.part(-1, None)",
        )
        unread = {node.id for node in nodes if not users[node.id]}
        body = [item for item in body if item.value.id not in unread]
        what = "What the loss reads, and its backward."
        self._method(writer, "logits", what, body, self.graph.logits(), calls, marked=False)

    def _forward_on_logits(self, writer: Writer) -> None:
        names = Names(self.taken)
        logits = self.graph.logits()
        body = [
            item
            for item in self.body
            if item.value.id not in {node.id for node in self.folded.values()}
        ]
        arguments = plan(self.graph.root, body, list(logits.values()), names).arguments
        names = Names({*self.taken, *arguments})
        with writer.indented(f"def forward({', '.join(['self', *arguments])}, training=False):"):
            writer.line('"""Outputs, and their backward."""')
            call = f"self.logits({', '.join(arguments)}, training)"
            if len(self.graph.outputs) == 1:
                (node,) = self.folded.values()
                writer.line(f"x, logits_backward = {call}")
                back = names.take(f"{node.name}_backward")
                writer.line(f"x, {back} = {self._expression(node, [Code('x')])}")
                writer.line(f"return x, lambda g: logits_backward({back}(g))")
                return
            writer.line(f"outputs, logits_backward = {call}")
            backs = {}
            for name, node in self.folded.items():
                key = literal(name)
                backs[name] = names.take(f"{node.name}_backward")
                expression = self._expression(node, [Code(f"outputs[{key}]")])
                writer.line(f"outputs[{key}], {backs[name]} = {expression}")
            writer.blank()
            with writer.indented("def backward(gradients):"):
                writer.line("gradients = dict(gradients)")
                for name, back in backs.items():
                    key = literal(name)
                    writer.line(f"gradients[{key}] = {back}(gradients[{key}])")
                writer.line("return logits_backward(gradients)")
            writer.blank()
            writer.line("return outputs, backward")

    def _method(
        self,
        writer: Writer,
        name: str,
        what: str,
        body: Sequence[Item],
        values: Mapping[str, Value],
        calls: Mapping[str, str] | None = None,
        *,
        marked: bool = True,
    ) -> None:
        names = Names(self.taken)
        local = plan(self.graph.root, body, list(values.values()), names)
        backs: list[str] = []
        with writer.indented(
            f"def {name}({', '.join(['self', *local.arguments])}, training=False):"
        ):
            writer.line(f'"""{what}"""')
            self._check_sizes(writer, local)
            for item in body:
                back = names.take(f"{_plain(item.name)}_backward")
                backs.append(back)
                reads = [Code(local[value]) for value in item.reads]
                expression = self._call(item, reads, calls or {}, marked=marked)
                writer.line(f"{local[item.value]}, {back} = {expression}")
            writer.blank()
            write_backward(self.graph, writer, body, local, backs, values, names)
            writer.blank()
            returned = text.returned({n: Code(local[v]) for n, v in values.items()})
            writer.line(f"return {returned}, backward")

    def _call(
        self, item: Item, reads: Sequence[Code], calls: Mapping[str, str], *, marked: bool
    ) -> Code:
        if isinstance(item.child, Scope):
            owner = item.child if item.child.owner is None else item.child.owner
            container = calls.get(item.child.path, f"self.{owner.name}")
            return Code(f"{container}.forward({', '.join(reads)}, training)")
        return self._expression(item.child, reads, marked=marked)

    def _expression(self, node: Node[Op], reads: Sequence[Code], *, marked: bool = True) -> Code:
        if not marked:
            return self._plain_expression(node, reads)
        fed = [mark(f"{node.id}:{index}", read) for index, read in enumerate(reads)]
        return mark(node.id, self._plain_expression(node, fed))

    def _plain_expression(self, node: Node[Op], reads: Sequence[Code]) -> Code:
        spelling = COLUMN.spell(node, self.style)
        if spelling.call is not None:
            return spelling.call(*reads)
        return Code(f"self.{node.weights_id}.forward({', '.join(reads)}, training)")

    def _check_sizes(self, writer: Writer, local: Plan) -> None:
        if not any(n.op.bound_to_size(n.inputs[0].shape) for n in self.graph.nodes):
            return
        for entry in self.graph.inputs:
            name = local[entry]
            with writer.indented(f"if {name}.shape[1:] != {literal(entry.shape)}:"):
                message = f"made for inputs of {show(entry.shape)}, got "
                writer.line(f'raise ValueError(f{literal(message)[:-1]}{{{name}.shape[1:]}}")')


def _plain(name: str) -> str:
    return name if not name[:1].isdigit() else f"layer{name}"
