"""Graph -> a standalone NumPy file with forward and backward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cnnspec.backends import text
from cnnspec.backends.base import Emitted, Style
from cnnspec.backends.constructors import Constructor
from cnnspec.backends.groups import Group, Groups, camel, writing
from cnnspec.backends.library import Library
from cnnspec.backends.numpy import initial, training
from cnnspec.backends.numpy.backward import Backward
from cnnspec.backends.numpy.cells import COLUMN
from cnnspec.backends.numpy.defaults import default
from cnnspec.backends.opening import opened
from cnnspec.backends.parts import Part, assign, sole
from cnnspec.backends.unify import Mismatch, Spells
from cnnspec.backends.variables import Names, Plan, plain, plan
from cnnspec.backends.writer import Code, Writer, literal, mark
from cnnspec.graph import Graph, Node, Scope
from cnnspec.ops.base import show
from cnnspec.passes.hoist import hoisted

__all__ = ["COLUMN", "emit"]

KERNELS = (
    "base",
    "window",
    "conv",
    "conv_transpose",
    "separable_conv",
    "pool",
    "adaptive_pool",
    "dense",
    "rbf",
    "norm",
    "activation",
    "merge",
    "reduce",
    "reshape",
    "resize",
    "slicing",
    "dropout",
    "random",
    "scale",
    "initializer",
    "loss",
    "optimizer",
    "adaptive",
    "moments",
)

IMPORTS = {
    "contextvars": "import contextvars",
    "hashlib": "import hashlib",
    "math": "import math",
    "np": "import numpy as np",
    "special": "from scipy import special",
}

LOCALS = ("backward", "g", "gradients", "logits_backward", "outputs", "self", "training")

SPELLS = Spells("Sequential", "Identity()", default, named=True, wraps="Apply")


def library(more: Iterable[Path] = ()) -> Library:
    """The kernels, as text, and those of plug-ins."""
    folder = Path(__file__).parent / "kernels"
    return Library.read(*(folder / f"{name}.py" for name in KERNELS), *more)


def emit(graph: Graph, style: Style) -> Emitted:
    """Write the network, and with `train:` its training functions.

    Raises:
        SpecError: an op that NumPy cannot express, or a name that clashes.
    """
    COLUMN.require(graph)
    graph = hoisted(graph)
    return writing(lambda apart: _emit(graph, style, apart))


def _emit(graph: Graph, style: Style, apart: frozenset[str]) -> Emitted:
    kernels = library(COLUMN.helpers(graph))
    entry = camel(graph.name)
    groups = Groups(graph, lambda node: COLUMN.spell(node, style), apart=apart)
    taken = {*kernels.names, *IMPORTS, *training.NAMES}
    text.check_clashes(graph, entry, groups, taken, "numpy")
    file = _File(graph, groups, entry, kernels, style)
    body = Writer()
    file.write(body)
    if graph.training is not None:
        training.write(graph, body, random=file.random)
    docstring = f"{graph.name}: {text.summary_line(graph)}."
    writer = text.assemble(docstring, IMPORTS, kernels, body)
    slots = text.canonical_slots(graph)
    return text.emitted(graph, "numpy", entry, writer, slots, groups)


class _File:
    """Writes the classes of the blocks, and of the network."""

    def __init__(
        self, graph: Graph, groups: Groups, entry: str, kernels: Library, style: Style
    ) -> None:
        self.graph = graph
        self.groups = groups
        self.entry = entry
        self.constructor = Constructor(groups, SPELLS)
        classes = {group.name for group in groups.blocks}
        self.taken = {*LOCALS, *IMPORTS, *kernels.names, *training.NAMES, entry, *classes}
        self.folded = text.folded(graph)
        random = any(node.op.random for node in graph.nodes)
        self.random = random and style.random == "counter"
        self.generator = random and style.random == "framework"

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
        base = "CounterModel" if self.random else "Model"
        with writer.indented(f"class {self.entry}({base}):"):
            writer.line(f'"""{text.summary_line(self.graph)}."""')
            writer.blank()
            self._constructor(writer)
            writer.blank()
            self._forwards(writer)

    # --- blocks --------------------------------------------------------------------------------

    def _block(self, writer: Writer, group: Group) -> None:
        body = Writer(depth=writer.depth + 2)
        self.constructor.attributes(body, group)
        group.signature = group.symbols.signature()
        container = sole(group.distinct[0])
        group.passes = ("rng",) if any("rng" in line for line in body.lines) else ()
        with writer.indented(f"class {group.name}({'Sequential' if container else 'Model'}):"):
            writer.line(f'"""Block `{group.block}`."""')
            writer.blank()
            if body.lines:
                arguments = text.arguments(group.signature)
                first = ["self", *group.passes]
                with writer.indented(f"def __init__({', '.join([*first, *arguments])}):"):
                    writer.lines.extend(body.lines)
                if not container:
                    writer.blank()
            if not container:
                what = "Output of the block, and its backward."
                self._method(writer, group, "forward", what, group.parts, dict(group.outputs))

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
            self.constructor.attributes(writer, self.groups.root)
            if initial_lines.lines:
                writer.blank()
                writer.lines.extend(initial_lines.lines)
            if self.random:
                writer.line("self.name_random_layers()")
            if len(writer.lines) == before:
                writer.line("pass")

    # --- forward and backward ------------------------------------------------------------------

    def _forwards(self, writer: Writer) -> None:
        root = self.groups.root
        outputs = dict(root.outputs)
        if not self.folded:
            what = "Outputs, and their backward."
            self._method(writer, root, "forward", what, root.parts, outputs)
            return
        if text.foldable(self.graph, root, self.folded):
            body, logits = text.without(root, self.folded)
            what = "What the loss reads, and its backward."
            self._method(writer, root, "logits", what, body, logits)
            writer.blank()
            self._forward_on_logits(writer, body, logits)
            return
        # The last activation is read inside, or held by a sequence: two full passes.
        self._method(writer, root, "forward", "Outputs, and their backward.", root.parts, outputs)
        writer.blank()
        body, calls, logits = opened(
            self.graph,
            root,
            self.folded,
            lambda container: f"{container}.part(0, -1)",
            lambda container: f"{container}.last()",
            lambda container: f"{container}.part(-1, None)",
        )
        read = {key for part in body for key in part.reads}
        unread = {
            part.key
            for part in body
            if part.key not in read
            and part.key in outputs.values()
            and part.key not in logits.values()
        }
        body = [part for part in body if part.key not in unread]
        what = "What the loss reads, and its backward."
        self._method(writer, root, "logits", what, body, logits, calls, marked=False)

    def _forward_on_logits(
        self, writer: Writer, body: Sequence[Part], logits: Mapping[str, str]
    ) -> None:
        root = self.groups.root
        arguments = plan(root.inputs, body, list(logits.values()), Names(self.taken)).arguments
        names = Names({*self.taken, *arguments})
        with writer.indented(f"def forward({', '.join(['self', *arguments])}, training=False):"):
            writer.line('"""Outputs, and their backward."""')
            call = f"self.logits({', '.join(arguments)}, training)"
            if len(self.graph.outputs) == 1:
                (node,) = self.folded.values()
                writer.line(f"x, logits_backward = {call}")
                back = names.take(f"{node.name}_backward")
                part = text.part_of(root, node)
                writer.line(f"x, {back} = {self._node(root, part, [Code('x')])}")
                writer.line(f"return x, lambda g: logits_backward({back}(g))")
                return
            writer.line(f"outputs, logits_backward = {call}")
            backs = {}
            for name, node in self.folded.items():
                key = literal(name)
                backs[name] = names.take(f"{node.name}_backward")
                part = text.part_of(root, node)
                expression = self._node(root, part, [Code(f"outputs[{key}]")])
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
        group: Group,
        name: str,
        what: str,
        body: Sequence[Part],
        values: Mapping[str, str],
        calls: Mapping[str, str] | None = None,
        *,
        marked: bool = True,
    ) -> None:
        names = Names(self.taken)
        local = plan(group.inputs, body, list(values.values()), names, unread=None)
        network = group.block is None
        always = text.always(self.graph, values) if network else dict(values)
        auxiliary = text.auxiliary(self.graph, group, body)
        backs: list[str] = []
        with writer.indented(
            f"def {name}({', '.join(['self', *local.arguments])}, training=False):"
        ):
            writer.line(f'"""{what}"""')
            if network:
                self._check_sizes(writer, local)
            guarded = False
            for part in body:
                back = names.take(f"{plain(part.name)}_backward")
                backs.append(back)
                targets = ", ".join(local[key] for key in part.values)
                if len(part.values) > 1:
                    targets = f"({targets})"
                reads = [Code(local[key]) for key in part.reads]
                made = self._call(group, part, reads, calls or {}, marked=marked)
                inside = part.key in auxiliary
                if inside and not guarded:
                    writer.line("if training:")
                writer.depth += inside
                statement = f"{targets}, {back} = {made}"
                assign(writer, targets, reads, statement, group.flags.get(part.key))
                writer.depth -= inside
                guarded = inside
            writer.blank()
            backward = Backward(
                local, names, group.inputs, values, frozenset(auxiliary), group.flags
            )
            backward.write(writer, body, backs, always, block=not network)
            writer.blank()
            if not network:
                returned = ", ".join(local[key] for key in values.values())
                writer.line(f"return {f'({returned})' if len(values) > 1 else returned}, backward")
                return
            if len(always) < len(values):
                with writer.indented("if training:"):
                    writer.line(f"return {_returned(local, values)}, backward")
            writer.line(f"return {_returned(local, always)}, backward")

    def _call(
        self,
        group: Group,
        part: Part,
        reads: Sequence[Code],
        calls: Mapping[str, str],
        *,
        marked: bool,
    ) -> Code:
        if part.splits:
            return self.groups.split(group, part, reads[0], marked=marked)
        if isinstance(part.child, Scope):
            container = calls.get(part.name, f"self.{part.owner or part.name}")
            return Code(f"{container}.forward({', '.join(reads)}, training)")
        return self._node(group, part, reads, marked=marked)

    def _node(
        self, group: Group, part: Part, reads: Sequence[Code], *, marked: bool = True
    ) -> Code:
        key = f"{group.id}{part.key}"
        node = part.child
        assert isinstance(node, Node)
        if marked:
            reads = [mark(f"{key}:{index}", read) for index, read in enumerate(reads)]
        if self.constructor.functional(part):
            call = self.groups.spellings[node].call
            assert call is not None
            made = call(*reads)
        else:
            path = (part.owner or part.name).replace(".", "_")
            made = Code(f"self.{path}.forward({', '.join(reads)}, training)")
        return mark(key, made) if marked else made

    def _check_sizes(self, writer: Writer, local: Plan) -> None:
        if not any(n.op.bound_to_size(n.inputs[0].shape) for n in self.graph.nodes):
            return
        for entry in self.graph.inputs:
            name = local[f"@{entry.name}"]
            with writer.indented(f"if {name}.shape[1:] != {literal(entry.shape)}:"):
                message = f"made for inputs of {show(entry.shape)}, got "
                writer.line(f'raise ValueError(f{literal(message)[:-1]}{{{name}.shape[1:]}}")')


def _returned(local: Plan, values: Mapping[str, str]) -> Code:
    return text.returned({name: Code(local[key]) for name, key in values.items()})
