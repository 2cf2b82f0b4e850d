"""Specs as their authors wrote them, included blocks put into the same file, whole or in part."""

from __future__ import annotations

from typing import Any

from cnnspec.build import build
from cnnspec.check.failure import around
from cnnspec.check.minimize.plain import RAW, Plain, fields_of, key_of, plain, text_of
from cnnspec.diagnostics import UserError
from cnnspec.document import Document, parse, read
from cnnspec.faults import Faults
from cnnspec.graph import Graph, Scope
from cnnspec.include import included
from cnnspec.schema import read_spec


def as_written(graph: Graph, *, train: bool, seed: int) -> Plain | None:
    """The spec as its author wrote it; None where there is none, or it has been changed.

    Args:
        graph: the network, perhaps on smaller inputs.
        train: whether to keep the `train:` section.
        seed: of the spec.
    """
    try:
        document = _document(graph)
        if document is None:
            return None
        raw = _with_blocks(document)
        shapes = {entry.name: list(entry.shape) for entry in graph.inputs}
        raw["input"] = shapes if isinstance(raw["input"], dict) else next(iter(shapes.values()))
        return _checked(raw, graph, train=train, seed=seed)
    except UserError:
        return None


def part_written(graph: Graph, node: str, *, seed: int) -> Plain | None:
    """The one layer of the spec that a node comes from, a block with all that is in it.

    Returns:
        None where it is no block, reads several values, or is not in the spec any more.
    """
    scope = next((s for s in around(graph.root, node) if s.kind != "instances"), None)
    whole = as_written(graph, train=False, seed=seed)
    if whole is None or scope is None or len(scope.inputs) != 1:
        return None
    raw = whole[RAW]
    entry = _entry(graph, scope, raw["layers"])
    if entry is None:
        return None
    part = {**raw, "input": list(scope.inputs[0][1].shape), "layers": [entry]}
    part.pop("outputs", None)
    return {RAW: _used(part)}


def _document(graph: Graph) -> Document | None:
    if graph.origin is None:
        return None
    source = graph.origin.span.source
    try:
        found = read(source.name)
    except UserError:
        found = parse(source.text, source.name)
    return found if found.source.text == source.text else None


def _with_blocks(document: Document) -> Plain:
    """A document's value, with the blocks of the files that it includes.

    Raises:
        UserError: one of these cannot be read any more.
    """
    raw: Plain = plain(document.value)
    if raw.pop("include", None) is None:
        return raw
    faults = Faults(document)
    blocks: Plain = {}
    parameters: Plain = {}
    for each in (*included(document, faults), document):
        value: Any = plain(each.value)
        blocks |= value.get("define", {})
        parameters |= value.get("parameters", {})
    raw["define"] = blocks
    if parameters:
        raw["parameters"] = parameters
    return raw


def _checked(raw: Plain, graph: Graph, *, train: bool, seed: int) -> Plain | None:
    """A raw spec, if it is of the same network.

    Raises:
        UserError: it is of none.
    """
    raw["seed"] = seed
    for layers in (raw["layers"], *(block["layers"] for block in raw.get("define", {}).values())):
        _without_expectations(layers)  # they hold for the spec's own size
    if not train:
        raw.pop("train", None)
    if not seed:
        del raw["seed"]
    spec = {RAW: _used(raw)}
    found = build(read_spec(parse(text_of(spec), "written.yaml"))).graph
    same = [(n.id, n.op, n.shape) for n in found.nodes] == [
        (n.id, n.op, n.shape) for n in graph.nodes
    ]
    return spec if same else None


def _without_expectations(layers: list[Any]) -> None:
    for layer in layers:
        if isinstance(layer, dict):
            fields = fields_of(layer) or {}
            fields.pop("expect", None)
            _without_expectations(fields.get("layers", []))


def _entry(graph: Graph, scope: Scope, layers: list[Any]) -> Any:
    """The layer of a spec that makes a scope of the network's own, without what it reads."""
    names = [child.name for child in graph.root.children]
    for layer in layers:
        fields = {} if isinstance(layer, str) else fields_of(layer) or {}
        key = layer if isinstance(layer, str) else key_of(layer)
        unnamed = scope.block == key or (scope.children and _block_of(scope) == key)
        if fields.get("name") == scope.name or (
            "name" not in fields and unnamed and names.count(scope.name) == 1
        ):
            return {key: {k: v for k, v in fields.items() if k not in ("from", "share")}}
    return None


def _block_of(scope: Scope) -> str | None:
    first = scope.children[0]
    return first.block if isinstance(first, Scope) else None


def _used(raw: Plain) -> Plain:
    """Without the blocks that no layer needs."""
    if "define" not in raw:
        return raw
    blocks, used, waiting = raw["define"], set[str](), list(raw["layers"])
    while waiting:
        layer = waiting.pop()
        key = layer if isinstance(layer, str) else key_of(layer)
        if isinstance(layer, dict):
            waiting += (fields_of(layer) or {}).get("layers", [])
        if key in blocks and key not in used:
            used.add(key)
            waiting += blocks[key]["layers"]
    kept = {name: block for name, block in blocks.items() if name in used}
    found = {key: value for key, value in raw.items() if key != "define"}
    return {**found, "define": kept} if kept else found
