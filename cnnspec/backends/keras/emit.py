"""Graph -> a standalone Keras file."""

from __future__ import annotations

from pathlib import Path

from cnnspec.backends import text
from cnnspec.backends.base import Emitted, Slot, Style
from cnnspec.backends.keras import training
from cnnspec.backends.keras.cells import COLUMN
from cnnspec.backends.keras.cells.conv import depthwise
from cnnspec.backends.library import Definition, Library, names_in
from cnnspec.backends.variables import Item, Names, plan
from cnnspec.backends.writer import INDENT, WIDTH, Code, Writer, call, literal, mark, unmarked
from cnnspec.graph import Graph, Node, Value
from cnnspec.ops.base import Op, Param, Shape, show
from cnnspec.ops.conv import Conv
from cnnspec.ops.norm import BatchNorm
from cnnspec.ops.rbf import Rbf

__all__ = ["COLUMN", "emit"]

HELPERS = (
    "initial",
    "activation",
    "conv",
    "dropout",
    "layers",
    "pool",
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
FUNCTIONS = (ENTRY, "CANONICAL", "load_weights", "logits_model", "save_weights", "weights_by_name")

VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "weight": "weight",
}
"""Name of a variable of a Keras layer -> its canonical name."""


def library(package: str) -> Library:
    """The helper modules, as text, registered under the name of the network."""
    folder = Path(__file__).parent / "helpers"
    read = Library.read(*(folder / f"{name}.py" for name in HELPERS))
    named = Definition("PACKAGE", f"PACKAGE = {literal(package)}", frozenset())
    return Library([named, *read.closure(read.names)])


def emit(graph: Graph, style: Style) -> Emitted:
    """Write the network, and with `train:` its training functions.

    Raises:
        SpecError: an op that Keras cannot express.
    """
    COLUMN.require(graph)
    helpers = library(graph.name)
    body = Writer()
    _build_model(graph, style, helpers, body)
    if text.folded(graph):
        body.blank(2)
        _logits_model(graph, body)
    _weight_files(graph, body)
    random = style.random == "counter" and any(n.op.random for n in graph.nodes)
    if graph.training is not None:
        training.write(graph, body, random=random)
    docstring = f"{graph.name}: {_summary(graph)}"
    writer = text.assemble(docstring, _imports(body, helpers), helpers, body)
    return text.emitted(graph, "keras", ENTRY, writer, _slots(graph))


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


# --- the model ---------------------------------------------------------------------------------


class _Statement(Item):
    """A node as one statement, wherever the scope tree has it."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its path as one word."""
        return self.value.id.replace(".", "_")


def _build_model(graph: Graph, style: Style, helpers: Library, writer: Writer) -> None:
    before = _earlier_uses(graph)
    body = [
        _Statement(node, (*node.inputs, *before.get(node.id, ())), node) for node in graph.nodes
    ]
    names = Names({*IMPORTS, *FROM_KERAS, *helpers.names, *training.NAMES, *FUNCTIONS})
    outputs = {o.name: o.value for o in graph.outputs}
    # The inputs are read again by the last line.
    local = plan(graph.root, body, [*outputs.values(), *graph.inputs], names)
    if style.random == "counter" and any(n.op.random for n in graph.nodes):
        writer.line(f"SEED = {literal(graph.seed)}")
        writer.blank(2)
    shared = {n.owner.id for n in graph.nodes if n.owner is not None}
    objects: dict[str, str] = {}
    with writer.indented(f"def {ENTRY}():"):
        writer.line(f'"""{_summary(graph)}"""')
        for entry in graph.inputs:
            made = call("keras.Input", channels_last(entry.shape), name=entry.name)
            writer.line(f"{local[entry]} = {made}")
        for node in graph.nodes:
            reads = [Code(local[value]) for value in node.inputs]
            spelling = COLUMN.spell(node, style)
            layer = spelling.layer
            assert layer is not None
            if node.id in shared:
                objects[node.id] = names.take(node.id.replace(".", "_"))
                writer.line(f"{objects[node.id]} = {layer}")
            if node.weights_id in objects:
                layer = Code(objects[node.weights_id])
            fed = [mark(f"{node.id}:{index}", read) for index, read in enumerate(reads)]
            for value in before.get(node.id, ()):
                after = call("After", name=f"{node.id}.after")
                fed[0] = Code(f"{after}([{fed[0]}, {local[value]}])")
            if spelling.call is None:
                made = Code(f"{layer}({', '.join(fed)})")
            else:
                made = spelling.call(layer, *fed)
            writer.line(f"{local[node]} = {mark(node.id, made)}")
        sources = _structure({i.name: local[i] for i in graph.inputs})
        results = _structure({name: local[value] for name, value in outputs.items()})
        made = call("keras.Model", sources, results, name=graph.name)
        writer.line(f"return {made}")


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
        writer.line(f"outputs = {{**model.output, {_entries(sources)}}}")
        writer.line("return keras.Model(model.input, outputs)")


def _entries(values: dict[str, str]) -> str:
    return ", ".join(f"{literal(name)}: {value}" for name, value in values.items())


# --- weights -----------------------------------------------------------------------------------


def _variable(node: Node[Op], param: Param) -> str:
    """The name of a parameter in its Keras layer."""
    if isinstance(node.op, BatchNorm):
        wanted = {
            "weight": "gamma",
            "bias": "beta",
            "running_mean": "moving_mean",
            "running_var": "moving_variance",
        }
        return wanted[param.name]
    if param.name == "weight" and _has_kernel(node.op, param):
        return "kernel"
    return param.name


def _has_kernel(op: Op, param: Param) -> bool:
    return len(param.shape) > 1 and not isinstance(op, Rbf)


def _is_depthwise(node: Node[Op]) -> bool:
    return isinstance(node.op, Conv) and depthwise(node.op, node.inputs[0].shape)


def _slots(graph: Graph) -> dict[str, Slot]:
    found = {}
    for node in graph.nodes:
        if node.owner is not None:
            continue
        for param in node.params:
            letters = param.layout
            variable = _variable(node, param)
            if variable == "kernel":
                last = "OI" if _is_depthwise(node) else "IO"
                letters = letters[2:] + last
            name = f"{node.id}.{param.name}"
            found[name] = Slot(f"{node.id}/{variable}", letters, param.layout, param.shape)
    return found


def _weight_files(graph: Graph, writer: Writer) -> None:
    """Functions that read and write canonical names and layouts."""
    owners = [n for n in graph.nodes if n.owner is None and n.params]
    used = {_variable(n, p) for n in owners for p in n.params}
    table = {k: v for k, v in VARIABLES.items() if k in used}
    alone = sorted({f"layers.DepthwiseConv{len(n.shape) - 1}D" for n in owners if _is_depthwise(n)})
    variable = "(variable, axes)" if alone else "variable"
    writer.blank(2)
    writer.line(f"CANONICAL = {{{_entries({k: literal(v) for k, v in table.items()})}}}")
    writer.blank(2)
    with writer.indented("def weights_by_name(model):"):
        if alone:
            writer.line('"""Canonical name -> variable, and its axes of outputs and inputs."""')
        else:
            writer.line('"""Canonical name -> variable."""')
        writer.line("found = {}")
        with writer.indented("for layer in model.layers:"):
            if alone:
                kinds = alone[0] if len(alone) == 1 else f"({', '.join(alone)})"
                writer.line(f"axes = (-2, -1) if isinstance(layer, {kinds}) else (-1, -2)")
            with writer.indented("for variable in layer.weights:"):
                writer.line(f'found[f"{{layer.name}}.{{CANONICAL[variable.name]}}"] = {variable}')
        writer.line("return found")
    writer.blank(2)
    with writer.indented("def load_weights(model, path):"):
        writer.line('"""Load a safetensors file of canonical names and layouts."""')
        writer.line("from safetensors.numpy import load_file")
        writer.blank()
        writer.line("state, variables = load_file(path), weights_by_name(model)")
        with writer.indented("if state.keys() != variables.keys():"):
            writer.line(
                'raise ValueError(f"{path} differs in {sorted(state.keys() ^ variables.keys())}")'
            )
        with writer.indented(f"for name, {variable} in variables.items():"):
            writer.line("value = state[name]")
            _move(writer, used, "(0, 1)", "axes" if alone else "(-1, -2)")
            writer.line("variable.assign(value)")
    writer.blank(2)
    with writer.indented("def save_weights(model, path):"):
        writer.line('"""Save parameters and running statistics under canonical names."""')
        writer.line("from safetensors.numpy import save_file")
        writer.blank()
        writer.line("state = {}")
        with writer.indented(f"for name, {variable} in weights_by_name(model).items():"):
            writer.line("value = variable.numpy()")
            _move(writer, used, "axes" if alone else "(-1, -2)", "(0, 1)")
            writer.line("state[name] = np.ascontiguousarray(value)")
        writer.line("save_file(state, path)")


def _move(writer: Writer, used: set[str], here: str, there: str) -> None:
    if "kernel" in used:
        with writer.indented('if variable.name == "kernel":'):
            writer.line(f"value = np.moveaxis(value, {here}, {there})")
