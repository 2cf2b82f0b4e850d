"""Smaller networks out of one: cut in front of a layer or behind it, led past it, joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnspec.check.minimize.plain import OUTPUT, RAW, Plain, content, copied, fields_of, key_of
from cnnspec.ops.base import Shape


def cuts(spec: Plain, shapes: Mapping[str, Shape]) -> Iterator[Plain]:
    """The network up to a layer, or from a layer on; the halves come first.

    Args:
        spec: the network.
        shapes: of the values of its own scope, by name.
    """
    if RAW in spec:
        return
    names = [fields_of(layer)["name"] for layer in spec["layers"]]
    for index in halving(len(names)):
        values = [name for name in shapes if name.partition(".")[0] == names[index]]
        for value in values:
            yield _up_to(spec, value)
        yield _from(spec, {value: shapes[value] for value in values})
    for name in spec["outputs"]:
        if len(spec["outputs"]) > 1:
            yield _without_output(spec, name)


def halving(count: int) -> list[int]:
    """All indices, the middle first, then the middles of the halves."""
    found: list[int] = []
    waiting = [(0, count)]
    while waiting:
        start, stop = waiting.pop(0)
        if start < stop:
            middle = (start + stop) // 2
            found.append(middle)
            waiting += [(start, middle), (middle + 1, stop)]
    return found


def passed(spec: Plain) -> Iterator[Plain]:
    """The network without one layer, whose readers read what it reads first."""
    if RAW in spec:
        return
    for index in range(len(spec["layers"]) - 1, -1, -1):
        made = copied(spec)
        fields = fields_of(made["layers"].pop(index))
        if made["layers"]:
            _replace(made, {fields["name"]: fields["from"][0]})
            yield pruned(made)


def joined(spec: Plain) -> Iterator[Plain]:
    """Two inputs of one shape as one."""
    if RAW in spec:
        return
    names = list(spec["input"])
    for i, name in enumerate(names):
        for other in names[:i]:
            if spec["input"][other] == spec["input"][name]:
                made = copied(spec)
                _replace(made, {name: other})
                yield pruned(made)


def nested(spec: Plain) -> Iterator[Plain]:
    """Without one layer of a block or a sequence, one block, or one layer of a raw spec.

    Only what is not read by name can go; the rest is no valid spec then.
    """
    top = content(spec)
    paths = list(_lists(top))
    if RAW in spec:
        paths = [("layers",), *paths, *([("define",)] if "define" in top else [])]
        for key in ("define", "outputs", "train", "parameters"):
            if key in top:
                made = copied(spec)
                del content(made)[key]
                yield made
    for path in paths:
        entries = _at(top, path)
        for chosen in _chunks(list(entries) if isinstance(entries, dict) else len(entries)):
            made = copied(spec)
            for entry in chosen:
                del _at(content(made), path)[entry]
            yield made if RAW in spec else pruned(made)


def _chunks(entries: list[str] | int) -> Iterator[list[Any]]:
    """Entries to take out at once, never all: halves, quarters, at last one by one, from behind."""
    every: list[Any] = entries if isinstance(entries, list) else list(range(entries))
    size = len(every) // 2
    while size:
        for stop in range(len(every), 0, -size):
            chosen = every[max(0, stop - size) : stop]
            if len(chosen) < len(every):
                yield chosen[::-1]
        size //= 2


def _lists(spec: Plain) -> Iterator[tuple[Any, ...]]:
    """Paths of the `layers` of blocks and sequences."""

    def inside(layers: Sequence[Any], path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        for index, layer in enumerate(layers):
            if isinstance(layer, dict) and "layers" in (fields_of(layer) or {}):
                inner = (*path, index, key_of(layer), "layers")
                yield inner
                yield from inside(fields_of(layer)["layers"], inner)

    yield from inside(spec["layers"], ("layers",))
    for name, block in spec.get("define", {}).items():
        path = ("define", name, "layers")
        yield path
        yield from inside(block["layers"], path)


def _at(spec: Any, path: Sequence[Any]) -> Any:
    for step in path:
        spec = spec[step]
    return spec


def _up_to(spec: Plain, value: str) -> Plain:
    """The network whose output is a value of its own scope."""
    made = copied(spec)
    made["outputs"] = {OUTPUT: value}
    return pruned(made)


def _from(spec: Plain, values: Mapping[str, Shape]) -> Plain:
    """The network with inputs in place of these values of one layer."""
    made = copied(spec)
    renamed = {}
    for value, shape in values.items():
        number = 1
        while f"x{number}" in made["input"]:
            number += 1
        renamed[value] = f"x{number}"
        made["input"][f"x{number}"] = list(shape)
    _replace(made, renamed)
    return pruned(made)


def _without_output(spec: Plain, name: str) -> Plain:
    made = copied(spec)
    del made["outputs"][name]
    if len(made["outputs"]) == 1:
        made["outputs"] = {OUTPUT: next(iter(made["outputs"].values()))}
    return pruned(made)


def _replace(spec: Plain, renamed: Mapping[str, str]) -> None:
    """Let layers and outputs read other values."""
    for layer in spec["layers"]:
        fields = fields_of(layer)
        fields["from"] = [renamed.get(source, source) for source in fields["from"]]
    for name, entry in spec["outputs"].items():
        if isinstance(entry, dict):
            entry["from"] = renamed.get(entry["from"], entry["from"])
        else:
            spec["outputs"][name] = renamed.get(entry, entry)


def pruned(spec: Plain) -> Plain:
    """Without layers, inputs, blocks and losses that no output needs; changes it in place."""
    needed = {
        (entry["from"] if isinstance(entry, dict) else entry).partition(".")[0]
        for entry in spec["outputs"].values()
    }
    kept = []
    for layer in reversed(spec["layers"]):
        fields = fields_of(layer)
        if fields["name"] in needed:
            needed.update(source.partition(".")[0] for source in fields["from"])
            kept.append(layer)
    spec["layers"] = kept[::-1]
    names = {fields_of(layer)["name"] for layer in kept}
    for layer in spec["layers"]:
        if fields_of(layer).get("share", "") not in names:
            fields_of(layer).pop("share", None)
    spec["input"] = {name: shape for name, shape in spec["input"].items() if name in needed}
    if "define" in spec:
        used = _used(spec)
        spec["define"] = {name: block for name, block in spec["define"].items() if name in used}
        if not spec["define"]:
            del spec["define"]
    if "train" in spec:
        losses = spec["train"]["loss"]
        first = next(iter(losses.values()))
        spec["train"]["loss"] = {name: losses.get(name, first) for name in spec["outputs"]}
    return spec


def _used(spec: Plain) -> set[str]:
    """The blocks that the network needs, those inside others included."""
    found: set[str] = set()
    waiting = list(spec["layers"])
    while waiting:
        layer = waiting.pop()
        key = layer if isinstance(layer, str) else key_of(layer)
        if isinstance(layer, dict):
            waiting += (fields_of(layer) or {}).get("layers", [])
        if key in spec["define"] and key not in found:
            found.add(key)
            waiting += spec["define"][key]["layers"]
    return found
