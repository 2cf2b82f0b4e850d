"""Graph -> a standalone PyTorch file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnspec.backends import text
from cnnspec.backends.base import Emitted, Style
from cnnspec.backends.library import Library
from cnnspec.backends.opening import opened
from cnnspec.backends.torch import initial, training
from cnnspec.backends.torch.cells import COLUMN
from cnnspec.backends.variables import Item, Names, Plan, items, plan
from cnnspec.backends.writer import Code, Writer, literal, mark
from cnnspec.graph import Graph, Node, Scope, Value
from cnnspec.ops.base import Op, show

__all__ = ["COLUMN", "emit"]

HELPERS = ("conv", "pool", "layers", "dropout")

IMPORTS = {
    "hashlib": "import hashlib",
    "math": "import math",
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
    "nn": "from torch import nn",
}


def library() -> Library:
    """The helper modules, as text."""
    folder = Path(__file__).parent / "helpers"
    return Library.read(*(folder / f"{name}.py" for name in HELPERS))


def emit(graph: Graph, style: Style) -> Emitted:
    """Write the network, and with `train:` its training functions.

    Raises:
        SpecError: an op that torch cannot express, or a name that clashes.
    """
    COLUMN.require(graph)
    helpers = library()
    entry = text.camel(graph.name)
    text.check_clash(graph, entry, {*helpers.names, *IMPORTS, *training.NAMES}, "torch")
    module = _Module(graph, style, entry, helpers)
    body = Writer()
    module.write(body)
    if graph.training is not None:
        training.write(graph, body, random=module.random)
    docstring = f"{graph.name}: {text.summary_line(graph)}."
    writer = text.assemble(docstring, IMPORTS, helpers, body)
    slots = text.canonical_slots(graph)
    return text.emitted(graph, "torch", entry, writer, slots, module.hooked)


class _Module:
    """Writes the `nn.Module` of the network."""

    def __init__(self, graph: Graph, style: Style, entry: str, helpers: Library) -> None:
        self.graph = graph
        self.style = style
        self.entry = entry
        self.taken = {"self", *IMPORTS, *helpers.names, *training.NAMES, entry}
        self.hooked: dict[str, str] = {}
        self.body = items(graph.root)
        self.folded = text.folded(graph)
        self.random = style.random == "counter" and any(n.op.random for n in graph.nodes)

    def write(self, writer: Writer) -> None:
        if self.random:
            writer.line(f"SEED = {literal(self.graph.seed)}")
            writer.blank(2)
        with writer.indented(f"class {self.entry}(nn.Module):"):
            writer.line(f'"""{text.summary_line(self.graph)}."""')
            writer.blank()
            self._constructor(writer)
            writer.blank()
            self._forward(writer)
            writer.blank()
            _weight_files(writer)

    # --- the constructor -----------------------------------------------------------------------

    def _constructor(self, writer: Writer) -> None:
        with writer.indented("def __init__(self):"):
            writer.line("super().__init__()")
            for item in self.body:
                self._attribute(writer, item.child)
            before = len(writer.lines)
            initial.write(self.graph, writer)
            if self.random:
                writer.line("name_random_layers(self)")
            if len(writer.lines) > before:
                writer.lines.insert(before, "")

    def _attribute(self, writer: Writer, child: Node[Op] | Scope) -> None:
        if isinstance(child, Scope):
            if child.owner is None:
                self._sequential(writer, child, f"self.{child.name}")
            return
        spelling = COLUMN.spell(child, self.style)
        if spelling.call is None and child.owner is None:
            assert spelling.layer is not None
            writer.line(f"self.{child.name} = {spelling.layer}")

    def _sequential(self, writer: Writer, scope: Scope, target: str) -> None:
        """A container in one expression, or filled by name where children have names."""
        if self._positional(scope):
            writer.line(f"{target} = {self._container(scope)}")
            return
        writer.line(f"{target} = nn.Sequential()")
        self._fill(writer, scope, target)

    def _fill(self, writer: Writer, scope: Scope, target: str) -> None:
        for child in scope.children:
            if isinstance(child, Scope) and not self._positional(child):
                if child.name.isdigit():  # no attribute is called so
                    writer.line(f"{target}.add_module({literal(child.name)}, nn.Sequential())")
                    self._fill(writer, child, f"{target}[{child.name}]")
                else:
                    self._sequential(writer, child, f"{target}.{child.name}")
            else:
                writer.line(f"{target}.add_module({literal(child.name)}, {self._held(child)})")

    def _positional(self, scope: Scope) -> bool:
        return all(
            child.name == str(index) and (not isinstance(child, Scope) or self._positional(child))
            for index, child in enumerate(scope.children)
        )

    def _container(self, scope: Scope) -> Code:
        return Code(f"nn.Sequential({', '.join(self._held(child) for child in scope.children)})")

    def _held(self, child: Node[Op] | Scope) -> Code:
        if isinstance(child, Scope):
            return self._container(child)
        spelling = COLUMN.spell(child, self.style)
        assert spelling.layer is not None, f"{child.op.key} inside a sequence"
        self.hooked[child.id] = child.id
        return mark(child.id, spelling.layer)

    # --- forward -------------------------------------------------------------------------------

    def _forward(self, writer: Writer) -> None:
        if not self.folded:
            values = {o.name: o.value for o in self.graph.outputs}
            self._method(writer, "forward", "Outputs", self.body, values)
            return
        tails = {name: text.enclosing(self.graph, node) for name, node in self.folded.items()}
        users = self.graph.users()
        simple = all(not users[node.id] for node in self.folded.values()) and not any(
            tails.values()
        )
        if simple:
            self._split_forward(writer)
        else:
            self._joint_forward(writer)

    def _split_forward(self, writer: Writer) -> None:
        """`logits`, and a `forward` that puts the last activation on top of it."""
        last = {node.id for node in self.folded.values()}
        body = [item for item in self.body if item.value.id not in last]
        self._method(writer, "logits", "What the loss reads", body, self.graph.logits())
        writer.blank()
        arguments = self._arguments(body, list(self.graph.logits().values()))
        with writer.indented(f"def forward(self, {', '.join(arguments)}):"):
            writer.line('"""Outputs."""')
            call = Code(f"self.logits({', '.join(arguments)})")
            if len(self.graph.outputs) == 1:
                (node,) = self.folded.values()
                writer.line(f"return {self._expression(node, [call])}")
                return
            writer.line(f"outputs = {call}")
            for name, node in self.folded.items():
                value = Code(f"outputs[{literal(name)}]")
                writer.line(f"outputs[{literal(name)}] = {self._expression(node, [value])}")
            writer.line("return outputs")

    def _joint_forward(self, writer: Writer) -> None:
        """One pass that returns both, where a last activation is read inside or held inside."""
        body, calls = opened(
            self.graph,
            self.body,
            list(self.folded.values()),
            lambda container: f"{container}[:-1]",
            lambda container: f"{container}[-1]",
        )
        outputs = {o.name: o.value for o in self.graph.outputs}
        logits = self.graph.logits()
        names = Names(self.taken)
        returned = [*outputs.values(), *logits.values()]
        local = plan(self.graph.root, body, returned, names)
        arguments = ", ".join(local.arguments)
        for name, index in (("forward", 0), ("logits", 1)):
            with writer.indented(f"def {name}(self, {arguments}):"):
                writer.line('"""Outputs."""' if not index else '"""What the loss reads."""')
                writer.line(f"return self.outputs_and_logits({arguments})[{index}]")
            writer.blank()
        with writer.indented(f"def outputs_and_logits(self, {arguments}):"):
            writer.line('"""Both, from one pass."""')
            self._statements(writer, body, local, calls)
            pair = [
                text.returned({n: Code(local[v]) for n, v in values.items()})
                for values in (outputs, logits)
            ]
            writer.line(f"return {pair[0]}, {pair[1]}")

    def _arguments(self, body: Sequence[Item], returned: Sequence[Value]) -> tuple[str, ...]:
        return plan(self.graph.root, body, returned, Names(self.taken)).arguments

    def _method(
        self,
        writer: Writer,
        name: str,
        what: str,
        body: Sequence[Item],
        values: Mapping[str, Value],
    ) -> None:
        names = Names(self.taken)
        local = plan(self.graph.root, body, list(values.values()), names)
        with writer.indented(f"def {name}(self, {', '.join(local.arguments)}):"):
            writer.line(f'"""{what}."""')
            self._statements(writer, body, local, {})
            writer.line(f"return {text.returned({n: Code(local[v]) for n, v in values.items()})}")

    def _statements(
        self, writer: Writer, body: Sequence[Item], local: Plan, calls: Mapping[str, str]
    ) -> None:
        self._check_sizes(writer, local)
        for item in body:
            target = local[item.value]
            reads = [Code(local[value]) for value in item.reads]
            if isinstance(item.child, Scope):
                owner = item.child if item.child.owner is None else item.child.owner
                function = calls.get(item.child.path, f"self.{owner.name}")
                writer.line(f"{target} = {function}({', '.join(reads)})")
            else:
                writer.line(f"{target} = {self._expression(item.child, reads)}")

    def _expression(self, node: Node[Op], reads: Sequence[Code]) -> Code:
        fed = [mark(f"{node.id}:{index}", read) for index, read in enumerate(reads)]
        spelling = COLUMN.spell(node, self.style)
        if spelling.call is not None:
            return mark(node.id, spelling.call(*fed))
        return mark(node.id, f"{initial.live(node.weights_id)}({', '.join(fed)})")

    def _check_sizes(self, writer: Writer, local: Plan) -> None:
        if not any(n.op.bound_to_size(n.inputs[0].shape) for n in self.graph.nodes):
            return
        for entry in self.graph.inputs:
            name = local[entry]
            with writer.indented(f"if {name}.shape[1:] != {literal(entry.shape)}:"):
                message = f"made for inputs of {show(entry.shape)}, got "
                writer.line(
                    f'raise ValueError(f{literal(message)[:-1]}{{tuple({name}.shape[1:])}}")'
                )


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
