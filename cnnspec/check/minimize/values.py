"""The same network with plainer fields and smaller numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnspec.check.minimize.plain import RAW, Plain, content, copied

Path = tuple[Any, ...]

WIRES = ("name", "from", "layers", "inputs", "outputs")
SMALL = (1, 2, 3)
LOSS = "mean_squared_error"
PLAINEST: dict[str, Any] = {
    "optimizer": {"sgd": {"lr": 0.5}},
    "schedule": "constant",
    "batch": 32,
    "epochs": 1,
}
"""What a `train:` section is first tried with, key by key."""


def defaults(spec: Plain) -> Iterator[Plain]:
    """Without one field, or one part of it; what it then is, is its default."""
    seen: set[Path] = set()
    for path, _ in _leaves(spec):
        if "layers" not in path:  # a parameter of a block
            continue
        for end in range(_field(path), len(path) + 1):
            short = path[:end]
            if short not in seen and isinstance(short[-1], str):
                seen.add(short)
                yield _without(spec, short)


def _field(path: Path) -> int:
    """Where in a leaf's path the name of the layer's field ends: `layers`, index, op, field."""
    return len(path) - path[::-1].index("layers") + 3


def training(spec: Plain) -> Iterator[Plain]:
    """A plainer `train:` section, or none."""
    if "train" not in spec or RAW in spec:
        return
    yield _without(spec, ("train",))
    for name in spec["train"]["loss"]:
        if spec["train"]["loss"][name] != LOSS:
            yield _with(spec, {("train", "loss", name): LOSS})
    for key, value in PLAINEST.items():
        if key in spec["train"]:
            yield _without(spec, ("train", key))
            if spec["train"][key] != value:
                yield _with(spec, {("train", key): value})
    for key in ("optimizer", "schedule"):
        entry = spec["train"].get(key)
        if isinstance(entry, dict):
            (name,) = entry
            for field in entry[name] or {}:
                yield _without(spec, ("train", key, name, field))


def scalars(spec: Plain) -> Iterator[Plain]:
    """One number in place of one for each axis, and seed 0."""
    for path, value in _lists(spec):
        numbers = [n for n in value if isinstance(n, int) and not isinstance(n, bool)]
        if numbers and len(numbers) == len(value):
            for number in dict.fromkeys(numbers):
                yield _with(spec, {path: number})
    if content(spec).get("seed"):
        yield _with(spec, {("seed",): 0})


def sizes(spec: Plain) -> Iterator[Plain]:
    """One number smaller: the smallest ones first, then by halves."""
    for path, value in numbers(spec):
        for smaller in _smaller(value):
            yield _with(spec, {path: smaller})


def together(spec: Plain) -> Iterator[Plain]:
    """Several numbers smaller at once: those that are equal, then any two."""
    found = numbers(spec)
    for value in sorted({v for _, v in found}, reverse=True):
        paths = [path for path, v in found if v == value]
        if len(paths) > 1:
            for smaller in _smaller(value):
                yield _with(spec, dict.fromkeys(paths, smaller))
    for (a, m), (b, n) in itertools.combinations(found, 2):
        divisor = math.gcd(m, n)
        if divisor > 1:
            yield _with(spec, {a: m // divisor, b: n // divisor})
        for small in SMALL:
            if small < min(m, n):
                yield _with(spec, {a: small, b: small})
        if min(m, n) > 1:
            yield _with(spec, {a: m - 1, b: n - 1})


def input_sizes(spec: Plain) -> Iterator[Plain]:
    """Smaller axes of space of the inputs, and nothing else, one by one and all together."""
    found = [(path, value) for path, value in numbers(spec) if path[0] == "input" and path[-1] > 0]
    for value in sorted({v for _, v in found}):
        for smaller in _smaller(value):
            paths = [path for path, v in found if v == value]
            yield _with(spec, dict.fromkeys(paths, smaller))
    for path, value in found:
        for smaller in _smaller(value):
            yield _with(spec, {path: smaller})


def _smaller(value: int) -> Iterator[int]:
    yield from (n for n in SMALL if n < value)
    if value // 2 > SMALL[-1]:
        yield value // 2
    if value - 1 > SMALL[-1] and value - 1 != value // 2:
        yield value - 1


def numbers(spec: Plain) -> list[tuple[Path, int]]:
    """Every whole number of inputs and fields that could be smaller, by its path."""
    found = [(path, value) for path, value in _walk(content(spec)["input"], ("input",))]
    found += [
        (path, value)
        for path, value in _leaves(spec)
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    return [(path, value) for path, value in found if value > 1]


def count_fields(spec: Plain) -> int:
    """How much is written that is no wire; what may be left out counts, numbers do not."""
    spec = content(spec)
    train = spec.get("train", {})
    entries = sum(len(v) for e in train.values() if isinstance(e, dict) for v in _mappings(e))
    return sum(1 for _ in _leaves(spec)) + len(train) + entries + bool(spec.get("seed"))


def _mappings(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield entry
    yield from (value for value in entry.values() if isinstance(value, Mapping))


# --- paths ---------------------------------------------------------------------------------------


def _leaves(spec: Plain) -> Iterator[tuple[Path, Any]]:
    """Every value of a field that is no list or mapping, wires left out."""
    top = content(spec)
    yield from _walk(top["layers"], ("layers",))
    yield from _walk(top.get("define", {}), ("define",))
    yield from _walk(top.get("parameters", {}), ("parameters",))


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key not in WIRES or (key == "layers" and isinstance(entry, list)):
                yield from _walk(entry, (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _walk(entry, (*path, index))
    elif not (len(path) > 1 and path[-2] == "layers"):  # an op without fields
        yield path, value


def _lists(spec: Plain) -> Iterator[tuple[Path, list[Any]]]:
    """The lists that are values of fields, each once."""
    leaves = [path for path, _ in _leaves(spec) if "layers" in path]
    paths = [path[: _field(path)] for path in leaves if len(path) > _field(path)]
    for path in dict.fromkeys(paths):
        found = _at(content(spec), path)
        if isinstance(found, list):
            yield path, found


def _at(spec: Any, path: Sequence[Any]) -> Any:
    for step in path:
        spec = spec[step]
    return spec


def _with(spec: Plain, changes: Mapping[Path, Any]) -> Plain:
    made = copied(spec)
    for path, value in changes.items():
        _at(content(made), path[:-1])[path[-1]] = value
    return made


def _without(spec: Plain, path: Path) -> Plain:
    made = copied(spec)
    del _at(content(made), path[:-1])[path[-1]]
    return made
