"""Specs as plain values, in a form that is easy to cut: made from graphs, and written as text.

`input` maps names to shapes, `outputs` names to layers, and `train.loss` outputs to losses. Every
layer of the network's own scope is `{key: fields}` with a name and a `from` that lists all it
reads. The text says less: what is the default anyway is left out.

Some faults only show in a spec as its author wrote it, with the parameters of its blocks. That is
the value of its document, under `raw`, and nothing in it can be taken for granted.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from cnnspec.document import parse
from cnnspec.expand import expand, flow
from cnnspec.graph import Graph, Node, Value
from cnnspec.ops.base import Op
from cnnspec.ops.initializer import Initializer
from cnnspec.ops.slicing import SplitPart
from cnnspec.schema import VERSION
from cnnspec.training import Fields, Vocabulary
from cnnspec.treatment import treatment_of

Plain = dict[str, Any]

NAME = "minimal"
OUTPUT = "output"
ONLY_INPUT = "input"
RAW = "raw"


def key_of(layer: Mapping[str, Any]) -> str:
    """The op or block of a layer."""
    return next(iter(layer))


def fields_of(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Its fields, name and wires included."""
    found: dict[str, Any] = layer[key_of(layer)]
    return found


# --- out of a graph ------------------------------------------------------------------------------


def flat(
    graph: Graph, ids: Collection[str], outputs: Sequence[str], *, train: bool, seed: int
) -> Plain:
    """Some nodes of a graph without the blocks around them; what they read is an input.

    Args:
        graph: the network.
        ids: of the nodes.
        outputs: ids of those whose values are the outputs.
        train: whether to keep the `train:` section, with the first loss for every output.
        seed: of the spec.
    """
    names: dict[str, str] = {}
    inputs: dict[str, list[int]] = {}
    layers: list[Plain] = []
    owners: dict[str, str] = {}
    taken: set[str] = set()

    def read(value: Value) -> str:
        if value.id not in names:
            names[value.id] = f"x{len(inputs) + 1}"
            inputs[names[value.id]] = list(value.shape)
        return names[value.id]

    for node in graph.nodes:
        if node.id not in ids or node.id in names:
            continue
        sources = [read(value) for value in node.inputs]
        name = _name(node, taken)
        fields: dict[str, Any] = {"name": name, "from": sources}
        if isinstance(node.op, SplitPart):
            parts = _parts(graph, node)
            names.update({part.id: f"{name}.{i}" for i, part in enumerate(parts)})
            layers.append({"split": {**fields, **_split([part.op for part in parts])}})
            continue
        names[node.id] = name
        if node.params and node.weights_id in owners:
            fields["share"] = owners[node.weights_id]
        owners.setdefault(node.weights_id, name)
        fields |= {name: plain(value) for name, value in treatment_of(node).items()}
        layers.append({node.op.key: {**fields, **_given(node.op)}})
    found: Plain = {"input": inputs, "layers": layers}
    several = len(outputs) > 1
    found["outputs"] = {f"out{i}" if several else OUTPUT: names[id] for i, id in enumerate(outputs)}
    if train and graph.training is not None:
        training = graph.training
        losses = list(training.losses.values())
        found["train"] = {
            "loss": {name: plain(losses[0]) for name in found["outputs"]},
            **{name: plain(value) for name, value in training.written().items()},
        }
    found["seed"] = seed
    return found


def _name(node: Node[Op], taken: set[str]) -> str:
    name = base = node.name if not node.name.isdigit() else f"{node.op.key}1"
    number = 1
    while name in taken or (name[0] == "x" and name[1:].isdigit()):  # those are inputs
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


def _parts(graph: Graph, node: Node[Op]) -> list[Node[Op]]:
    """The parts of the split that a node is one of."""
    path = node.id.rpartition(".")[0]
    return [
        part
        for part in graph.nodes
        if isinstance(part.op, SplitPart) and part.id.rpartition(".")[0] == path
    ]


def _split(ops: Sequence[Op]) -> Plain:
    parts = [op for op in ops if isinstance(op, SplitPart)]
    if parts[0].into is not None:
        return {"into": parts[0].into}
    return {"sizes": [part.stop - part.start for part in parts]}


def _given(op: Op) -> Plain:
    """The fields that are not at their default."""
    found = {}
    for name, info in type(op).model_fields.items():
        value = getattr(op, name)
        if info.is_required() or value != info.get_default(call_default_factory=True):
            found[name] = plain(value)
    return found


def plain(value: object) -> Any:
    """A value of the graph as a spec has it."""
    if isinstance(value, Initializer | Vocabulary):
        fields = {name: plain(getattr(value, name)) for name in type(value).model_fields}
        return {value.key: fields} if fields else value.key
    if isinstance(value, Fields):
        value = value.written()
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    return value


def structured(graph: Graph, *, train: bool, seed: int) -> Plain:
    """A graph with its blocks and sequences, every default written."""
    read: Any = plain(parse(expand(graph), "expanded.yaml").value)
    shapes = read["input"]
    inputs = shapes if isinstance(shapes, dict) else {ONLY_INPUT: shapes}
    layers: list[Plain] = []
    above = next(iter(inputs))
    for entry in read["layers"]:
        layer = {entry: {}} if isinstance(entry, str) else entry
        fields = dict(fields_of(layer) or {})
        sources = fields.pop("from", above)
        name = fields.pop("name")
        wires = {"name": name, "from": [sources] if isinstance(sources, str) else sources}
        layers.append({key_of(layer): {**wires, **fields}})
        above = name
    outputs = read.get("outputs", above)
    found: Plain = {"input": inputs, "layers": layers}
    if "define" in read:
        found["define"] = read["define"]
    found["outputs"] = outputs if isinstance(outputs, dict) else {OUTPUT: outputs}
    if train and "train" in read:
        names = list(found["outputs"])
        losses = read["train"]["loss"]
        found["train"] = {**read["train"], "loss": losses if len(names) > 1 else {names[0]: losses}}
    found["seed"] = seed
    if read["name"] != NAME:
        found["name"] = read["name"]
    return found


def content(spec: Plain) -> Plain:
    """What a spec has at its top: of a raw one its document's value."""
    found: Plain = spec.get(RAW, spec)
    return found


def copied(spec: Plain) -> Plain:
    """A copy to change."""
    return copy.deepcopy(spec)


# --- into text -----------------------------------------------------------------------------------


def text_of(spec: Plain) -> str:
    """The spec as YAML, without what is the default anyway."""
    if RAW in spec:
        return _raw_text(spec[RAW])
    inputs, layers, outputs = spec["input"], spec["layers"], spec["outputs"]
    lines = [f"cnnspec: {VERSION}", f"name: {spec.get('name', NAME)}"]
    renamed = {next(iter(inputs)): ONLY_INPUT} if len(inputs) == 1 else {}
    if renamed:
        lines.append(f"input: {flow(next(iter(inputs.values())))}")
    else:
        lines += ["input:", *(f"  {name}: {flow(shape)}" for name, shape in inputs.items())]
    lines += _define(spec.get("define", {}))
    lines += ["layers:", *_lines(_brief(layers, renamed), "  ")]
    last = fields_of(layers[-1])["name"]
    if outputs != {OUTPUT: last} or len(layers) == 1:
        if list(outputs) == [OUTPUT] and isinstance(outputs[OUTPUT], str):
            if len(layers) > 1 or outputs[OUTPUT] != last:
                lines.append(f"outputs: {flow(outputs[OUTPUT])}")
        else:
            lines += ["outputs:", *(f"  {n}: {flow(entry)}" for n, entry in outputs.items())]
    if "train" in spec:
        train = dict(spec["train"])
        if len(outputs) == 1:
            train["loss"] = next(iter(train["loss"].values()))
        lines += ["train:", *(f"  {name}: {flow(value)}" for name, value in train.items())]
    if spec.get("seed"):
        lines.append(f"seed: {spec['seed']}")
    return "\n".join(lines) + "\n"


def _raw_text(raw: Plain) -> str:
    lines = []
    for key, value in raw.items():
        if key == "define":
            lines += _define(value)
        elif key == "layers":
            lines += ["layers:", *_lines(value, "  ")]
        else:
            lines.append(f"{key}: {flow(value)}")
    return "\n".join(lines) + "\n"


def _define(blocks: Mapping[str, Any]) -> list[str]:
    lines = ["define:"] if blocks else []
    for name, block in blocks.items():
        lines.append(f"  {name}:")
        lines += [f"    {k}: {flow(v)}" for k, v in block.items() if k != "layers"]
        lines += ["    layers:", *_lines(block["layers"], "      ")]
    return lines


def _brief(layers: Sequence[Plain], renamed: Mapping[str, str]) -> Iterator[Plain]:
    """Layers without the wires that they have anyway, and a single one without its name."""
    above = [next(iter(renamed))] if renamed else None
    for layer in layers:
        fields = dict(fields_of(layer))
        name, sources = fields.pop("name"), fields.pop("from")
        wires: Plain = {} if len(layers) == 1 else {"name": name}
        if sources != above:
            read = [renamed.get(source, source) for source in sources]
            wires["from"] = read[0] if len(read) == 1 else read
        yield {key_of(layer): {**wires, **fields}}
        above = [name]


def _lines(layers: Any, indent: str) -> list[str]:
    """A line for each layer; what has layers of its own takes several."""
    lines = []
    for layer in layers:
        if isinstance(layer, str):
            lines.append(f"{indent}- {layer}")
            continue
        key, fields = key_of(layer), fields_of(layer) or {}
        if "layers" in fields:
            lines.append(f"{indent}- {key}:")
            lines += [f"{indent}    {k}: {flow(v)}" for k, v in fields.items() if k != "layers"]
            lines += [f"{indent}    layers:", *_lines(fields["layers"], f"{indent}      ")]
        else:
            lines.append(f"{indent}- {key}: {flow(fields)}" if fields else f"{indent}- {key}")
    return lines
