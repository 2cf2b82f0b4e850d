"""Graph -> a standalone PyTorch file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cnnspec.backends import text
from cnnspec.backends.base import Emitted, Style
from cnnspec.backends.constructors import Constructor
from cnnspec.backends.groups import Group, Groups, camel, writing
from cnnspec.backends.library import Library
from cnnspec.backends.opening import opened
from cnnspec.backends.parts import Part, assign, sole
from cnnspec.backends.torch import initial, training
from cnnspec.backends.torch.cells import COLUMN
from cnnspec.backends.torch.defaults import default
from cnnspec.backends.unify import Mismatch, Spells
from cnnspec.backends.variables import Names, Plan, plan
from cnnspec.backends.writer import Code, Writer, literal, mark
from cnnspec.graph import Graph, Node, Scope
from cnnspec.ops.base import show
from cnnspec.passes.hoist import hoisted

__all__ = ["COLUMN", "emit"]

HELPERS = (
    "conv",
    "conv_transpose",
    "separable_conv",
    "pool",
    "layers",
    "norm",
    "dropout",
    "random",
    "scale",
    "merge",
    "resize",
    "reshape",
    "activation",
    "optimizer",
    "loss",
)

IMPORTS = {
    "hashlib": "import hashlib",
    "math": "import math",
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
    "nn": "from torch import nn",
}

SPELLS = Spells("nn.Sequential", "nn.Identity()", default)


def library(more: Iterable[Path] = ()) -> Library:
    """The helper modules, as text, and those of plug-ins."""
    folder = Path(__file__).parent / "helpers"
    return Library.read(*(folder / f"{name}.py" for name in HELPERS), *more)


def emit(graph: Graph, style: Style) -> Emitted:
    """Write the network, and with `train:` its training functions.

    Raises:
        SpecError: an op that torch cannot express, or a name that clashes.
    """
    COLUMN.require(graph)
    graph = hoisted(graph)
    return writing(lambda apart: _emit(graph, style, apart))


def _emit(graph: Graph, style: Style, apart: frozenset[str]) -> Emitted:
    helpers = library(COLUMN.helpers(graph))
    entry = camel(graph.name)
    groups = Groups(graph, lambda node: COLUMN.spell(node, style), apart=apart)
    taken = {*helpers.names, *IMPORTS, *training.NAMES}
    text.check_clashes(graph, entry, groups, taken, "torch")
    file = _File(graph, groups, entry, helpers, style)
    body = Writer()
    file.write(body)
    if graph.training is not None:
        training.write(graph, body, random=file.random)
    docstring = f"{graph.name}: {text.summary_line(graph)}."
    writer = text.assemble(docstring, IMPORTS, helpers, body)
    slots = text.canonical_slots(graph)
    return text.emitted(graph, "torch", entry, writer, slots, groups)


class _File:
    """Writes the classes of the blocks, and of the network."""

    def __init__(
        self, graph: Graph, groups: Groups, entry: str, helpers: Library, style: Style
    ) -> None:
        self.graph = graph
        self.groups = groups
        self.entry = entry
        self.constructor = Constructor(groups, SPELLS)
        classes = {group.name for group in groups.blocks}
        self.taken = {"self", *IMPORTS, *helpers.names, *training.NAMES, entry, *classes}
        self.folded = text.folded(graph)
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
        with writer.indented(f"class {self.entry}(nn.Module):"):
            writer.line(f'"""{text.summary_line(self.graph)}."""')
            writer.blank()
            self._network(writer)
            writer.blank()
            self._forwards(writer)
            writer.blank()
            _weight_files(writer)

    # --- blocks --------------------------------------------------------------------------------

    def _block(self, writer: Writer, group: Group) -> None:
        body = Writer(depth=writer.depth + 2)
        self.constructor.attributes(body, group)
        container = sole(group.distinct[0])
        group.signature = group.symbols.signature()
        base = "nn.Sequential" if container else "nn.Module"
        with writer.indented(f"class {group.name}({base}):"):
            writer.line(f'"""Block `{group.block}`."""')
            writer.blank()
            if body.lines:
                arguments = text.arguments(group.signature)
                with writer.indented(f"def __init__({', '.join(['self', *arguments])}):"):
                    writer.line("super().__init__()")
                    writer.lines.extend(body.lines)
                if not container:
                    writer.blank()
            if not container:
                returned = dict(group.outputs)
                self._method(
                    writer, group, "forward", "Output of the block.", group.parts, returned
                )

    # --- the network ---------------------------------------------------------------------------

    def _network(self, writer: Writer) -> None:
        with writer.indented("def __init__(self):"):
            writer.line("super().__init__()")
            self.constructor.attributes(writer, self.groups.root)
            before = len(writer.lines)
            initial.write(self.graph, writer)
            if self.random:
                writer.line("name_random_layers(self)")
            if len(writer.lines) > before:
                writer.lines.insert(before, "")

    def _forwards(self, writer: Writer) -> None:
        root = self.groups.root
        if not self.folded:
            self._method(writer, root, "forward", "Outputs.", root.parts, dict(root.outputs))
            return
        if text.foldable(self.graph, root, self.folded):
            self._split_forward(writer)
        else:
            self._joint_forward(writer)

    def _split_forward(self, writer: Writer) -> None:
        """`logits`, and a `forward` that puts the last activation on top of it."""
        root = self.groups.root
        body, logits = text.without(root, self.folded)
        self._method(writer, root, "logits", "What the loss reads.", body, logits)
        writer.blank()
        arguments = plan(root.inputs, body, list(logits.values()), Names(self.taken)).arguments
        with writer.indented(f"def forward(self, {', '.join(arguments)}):"):
            writer.line('"""Outputs."""')
            call = Code(f"self.logits({', '.join(arguments)})")
            if len(self.graph.outputs) == 1:
                (node,) = self.folded.values()
                writer.line(f"return {self._node(root, text.part_of(root, node), [call])}")
                return
            writer.line(f"outputs = {call}")
            for name, node in self.folded.items():
                value = Code(f"outputs[{literal(name)}]")
                part = text.part_of(root, node)
                writer.line(f"outputs[{literal(name)}] = {self._node(root, part, [value])}")
            writer.line("return outputs")

    def _joint_forward(self, writer: Writer) -> None:
        """One pass that returns both, where a last activation is read inside or held inside."""
        root = self.groups.root
        body, calls, logits = opened(
            self.graph,
            root,
            self.folded,
            lambda container: f"{container}[:-1]",
            lambda container: f"{container}[-1]",
        )
        outputs = dict(root.outputs)
        names = Names(self.taken)
        returned = [*outputs.values(), *logits.values()]
        local = plan(root.inputs, body, returned, names)
        arguments = ", ".join(local.arguments)
        for name, index in (("forward", 0), ("logits", 1)):
            with writer.indented(f"def {name}(self, {arguments}):"):
                writer.line('"""Outputs."""' if not index else '"""What the loss reads."""')
                writer.line(f"return self.outputs_and_logits({arguments})[{index}]")
            writer.blank()
        with writer.indented(f"def outputs_and_logits(self, {arguments}):"):
            writer.line('"""Both, from one pass."""')
            self._statements(writer, root, body, local, calls)
            kept = text.always(self.graph, outputs)
            if len(kept) < len(outputs):
                with writer.indented("if self.training:"):
                    writer.line(f"return {_pair(local, outputs, logits)}")
            logits = {name: logits[name] for name in kept}
            writer.line(f"return {_pair(local, kept, logits)}")

    # --- forward -------------------------------------------------------------------------------

    def _method(
        self,
        writer: Writer,
        group: Group,
        name: str,
        what: str,
        body: Sequence[Part],
        values: Mapping[str, str],
    ) -> None:
        local = plan(group.inputs, body, list(values.values()), Names(self.taken))
        with writer.indented(f"def {name}(self, {', '.join(local.arguments)}):"):
            writer.line(f'"""{what}"""')
            guarded = self._statements(writer, group, body, local, {})
            if group.block is not None:
                writer.line(f"return {', '.join(local[key] for key in values.values())}")
                return
            always = text.always(self.graph, values)
            if len(always) < len(values):
                if not guarded:
                    writer.line("if self.training:")
                writer.depth += 1
                every = text.returned({n: Code(local[k]) for n, k in values.items()})
                writer.line(f"return {every}")
                writer.depth -= 1
            writer.line(f"return {text.returned({n: Code(local[k]) for n, k in always.items()})}")

    def _statements(
        self,
        writer: Writer,
        group: Group,
        body: Sequence[Part],
        local: Plan,
        calls: Mapping[str, str],
    ) -> bool:
        """The statements; whether the last ones stand under `if self.training:`."""
        if group.block is None:
            self._check_sizes(writer, local)
        auxiliary = text.auxiliary(self.graph, group, body)
        guarded = False
        for part in body:
            target = ", ".join(local[key] for key in part.values)
            reads = [Code(local[key]) for key in part.reads]
            if part.splits:
                line = f"{target} = {self.groups.split(group, part, reads[0])}"
            elif isinstance(part.child, Scope):
                function = calls.get(part.name, f"self.{part.owner or part.name}")
                line = f"{target} = {function}({', '.join(reads)})"
            else:
                line = f"{target} = {self._node(group, part, reads)}"
            if part.key in auxiliary:
                if not guarded:
                    writer.line("if self.training:")
                writer.depth += 1
                writer.line(line)
                writer.depth -= 1
            else:
                assign(writer, target, reads, line, group.flags.get(part.key))
            guarded = part.key in auxiliary
        return guarded

    def _node(self, group: Group, part: Part, reads: Sequence[Code]) -> Code:
        key = f"{group.id}{part.key}"
        fed = [mark(f"{key}:{index}", read) for index, read in enumerate(reads)]
        node = part.child
        assert isinstance(node, Node)
        if self.constructor.functional(part):
            call = self.groups.spellings[node].call
            assert call is not None
            return mark(key, call(*fed))
        path = (part.owner or part.name).replace(".", "_")
        return mark(key, f"self.{path}({', '.join(fed)})")

    def _check_sizes(self, writer: Writer, local: Plan) -> None:
        spellings = self.groups.spellings
        if not any(
            n.op.bound_to_size(n.inputs[0].shape) and not spellings[n].any_size
            for n in self.graph.nodes
        ):
            return
        for entry in self.graph.inputs:
            name = local[f"@{entry.name}"]
            with writer.indented(f"if {name}.shape[1:] != {literal(entry.shape)}:"):
                message = f"made for inputs of {show(entry.shape)}, got "
                writer.line(
                    f'raise ValueError(f{literal(message)[:-1]}{{tuple({name}.shape[1:])}}")'
                )


def _pair(local: Plan, outputs: Mapping[str, str], logits: Mapping[str, str]) -> str:
    parts = [text.returned({n: Code(local[k]) for n, k in v.items()}) for v in (outputs, logits)]
    return ", ".join(parts)


def _weight_files(writer: Writer) -> None:
    with writer.indented("def load_weights(self, path):"):
        writer.line('"""Load a safetensors file."""')
        writer.line("from safetensors.torch import load_file")
        writer.blank()
        writer.line("self.load_state_dict(load_file(path))")
    writer.blank()
    with writer.indented("def save_weights(self, path):"):
        writer.line('"""Save parameters and running statistics to a safetensors file."""')
        writer.line("from safetensors.torch import save_file")
        writer.blank()
        writer.line("state = {k: v.contiguous() for k, v in self.state_dict().items()}")
        writer.line(
            'state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}'
        )
        writer.line("save_file(state, path)")
