"""A graph as YAML again, with every default and every name written; it reads back as it was.

It is one file without parameters. Sequences stay, and layers that a sequence names by their
position keep no name, because a position cannot be given as a name. Blocks stay as scopes, but have
no parameters left: each way in which a block is used is a block of its own. What was repeated stays
so where all instances are alike; else `layer1` is a sequence, which names them `layer1.0` too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from cnnspec.build import build
from cnnspec.data_section import DataSection
from cnnspec.expand_layers import Entries, Entry, names_of, value_of
from cnnspec.graph import Graph
from cnnspec.ops.base import show
from cnnspec.ops.initializer import Initializer
from cnnspec.schema import VERSION
from cnnspec.spec import Spec
from cnnspec.training import Fields, Training, Vocabulary

WIDTH = 100

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_TYPED = frozenset("null Null NULL true True TRUE false False FALSE".split())


def expand(network: Graph | Spec) -> str:
    """The fully resolved spec; what it is read back as has the same nodes, names and seed.

    Raises:
        SpecError: a spec was given, and it cannot be built.
    """
    graph = build(network).graph if isinstance(network, Spec) else network
    layers = Entries()
    root = layers.of(graph.root)
    lines = [f"cnnspec: {VERSION}", f"name: {_scalar(graph.name)}", *_input(graph)]
    if layers.blocks:
        lines += ["define:", *_define(layers)]
    lines += ["layers:", *_lines(root, "  ", shapes=True)]
    lines += _outputs(graph)
    if graph.training is not None:
        lines += _train(graph.training, [output.name for output in graph.outputs])
    if graph.data is not None:
        lines += ["data:", *_data(graph.data)]
    lines.append(f"seed: {graph.seed}")
    return "\n".join(lines) + "\n"


def _input(graph: Graph) -> list[str]:
    names = [entry.name for entry in graph.inputs]
    if names == ["input"]:
        return [f"input: {flow(graph.inputs[0].shape)}"]
    return ["input:", *(f"  {entry.name}: {flow(entry.shape)}" for entry in graph.inputs)]


def _outputs(graph: Graph) -> list[str]:
    names = names_of(graph.root)
    if [(output.name, output.training_only) for output in graph.outputs] == [("output", False)]:
        (output,) = graph.outputs
        last = value_of(graph.root.children[-1])
        return [] if output.value is last else [f"outputs: {names[output.value.id]}"]
    lines = ["outputs:"]
    for output in graph.outputs:
        name = names[output.value.id]
        entry = {"from": name, "training_only": True} if output.training_only else name
        lines.append(f"  {output.name}: {flow(entry)}")
    return lines


# --- layers ------------------------------------------------------------------------------------


def _define(layers: Entries) -> list[str]:
    lines = []
    for body, name in layers.blocks.items():
        lines.append(f"  {name}:")
        if body.inputs != ("input",):
            lines.append(f"    inputs: {flow(body.inputs)}")
        if body.outputs is not None:
            outputs = body.outputs if isinstance(body.outputs, str) else dict(body.outputs)
            lines.append(f"    outputs: {flow(outputs)}")
        lines += ["    layers:", *_lines(body.layers, "      ", shapes=False)]
    return lines


def _lines(entries: Iterable[Entry], indent: str, *, shapes: bool) -> list[str]:
    lines = []
    for entry in entries:
        fields = dict(entry.fields)
        if entry.layers:
            lines += [f"{indent}- {entry.key}:", *_block(fields, f"{indent}    ")]
            lines += [f"{indent}    layers:"]
            lines += _lines(entry.layers, f"{indent}      ", shapes=shapes)
        else:
            lines += _layer(entry, fields, indent, shapes=shapes)
    return lines


def _layer(entry: Entry, fields: Mapping[str, object], indent: str, *, shapes: bool) -> list[str]:
    """One line where it fits, else a line for each field; with the output's shape as a remark."""
    shape = f"  # {show(entry.shape)}" if shapes and entry.shape else ""
    head = f"{indent}- {entry.key}"
    if not fields:
        return [head + shape]
    line = f"{head}: {flow(fields)}"
    if len(line) <= WIDTH - len(shape):
        return [line + shape]
    return [f"{head}:{shape}", *_block(fields, f"{indent}    ")]


def _block(fields: Mapping[str, object], indent: str) -> list[str]:
    return [f"{indent}{name}: {flow(value)}" for name, value in fields.items()]


# --- training ----------------------------------------------------------------------------------


def _train(training: Training, outputs: list[str]) -> list[str]:
    losses = [training.losses[name] for name in outputs]
    if len(losses) == 1:
        loss = [f"  loss: {flow(losses[0])}"]
    else:
        pairs = zip(outputs, losses, strict=True)
        loss = ["  loss:", *(f"    {name}: {flow(loss)}" for name, loss in pairs)]
    return [
        "train:",
        *loss,
        *(f"  {name}: {flow(value)}" for name, value in training.written().items()),
    ]


# --- data ----------------------------------------------------------------------------------------


def _data(section: DataSection) -> list[str]:
    """What is not left to its default; paths stay relative to the spec's own directory."""
    lines = []
    for name, value in section.written().items():
        if name == "augment" and isinstance(value, tuple):
            lines += ["  augment:", *(f"    - {flow(_literal(step))}" for step in value)]
        else:
            lines.append(f"  {name}: {flow(_literal(value))}")
    return lines


def _literal(value: object) -> object:
    """A value whose texts are read back as they are, and not as expressions."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {name: _literal(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_literal(entry) for entry in value)
    return value


# --- values ------------------------------------------------------------------------------------


def flow(value: object) -> str:
    """A value on one line of YAML: plain ones, initializers, losses, optimizers, schedules."""
    if isinstance(value, Initializer | Vocabulary):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        value = {value.key: fields} if fields else value.key
    if isinstance(value, Fields):
        value = value.written()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {flow(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(flow(entry) for entry in value) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    """A scalar that YAML 1.2 core reads back as the same value of the same type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # the shortest text that gives the same float: 1e-05, 0.1, 1.0
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value not in _TYPED
        return value if plain else json.dumps(value, ensure_ascii=False)
    raise TypeError(f"no spelling for {value!r}")
