"""From a network that fails to the smallest one that fails in the same way.

A spec is changed as a value, never as a graph: what comes out is what `check` reads. Each step
has to leave a valid spec that is smaller, and fails as before; nothing else is known about it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from cnnspec.diagnostics import UserError
from cnnspec.fuzz.flatten import alone, flat
from cnnspec.fuzz.judge import graph_of
from cnnspec.fuzz.options import Verdict, Way
from cnnspec.testing.networks import Spec, text_of

CHECKS = 300
"""Networks that are looked at before what has been found is small enough."""

Judge = Callable[[str], Verdict]
Path = tuple[str | int, ...]


def shrink(text: str, verdict: Verdict, judge: Judge, *, checks: int = CHECKS) -> Shrunk:
    """The smallest spec found that fails in the same way.

    Args:
        text: of a spec that fails.
        verdict: on it.
        judge: says what is wrong with a spec, if anything.
        checks: most networks that it is asked about.
    """
    assert verdict.way is not None
    found = Shrunk(text, verdict, verdict.way, judge, checks)
    found.run()
    return found


class Shrunk:
    """The smallest spec so far.

    Attributes:
        text: of it.
        verdict: on it.
        checks: number of networks that were looked at.
    """

    def __init__(self, text: str, verdict: Verdict, way: Way, judge: Judge, most: int) -> None:
        self.text, self.verdict = text, verdict
        self.checks = 0
        self._way, self._judge, self._most = way, judge, most
        self._tried = {text}

    def run(self) -> None:
        """Shrink, from the largest steps to the smallest, until nothing more helps."""
        for whole in (self._alone, self._flat):
            if self._any(whole()):
                break
        changed = True
        while changed and self.checks < self._most:
            changed = False
            for steps in (fewer_layers, fewer_keys, smaller_values):
                while self._any(steps(self._spec())):
                    changed = True

    def _spec(self) -> Spec:
        made: Spec = yaml.safe_load(self.text)
        return made

    def _any(self, candidates: Iterator[Spec]) -> bool:
        """Take the first of these that still fails."""
        return any(self._fails(candidate) for candidate in candidates)

    def _fails(self, spec: Spec) -> bool:
        text = text_of(spec)
        if text in self._tried or self.checks >= self._most:
            return False
        self._tried.add(text)
        if self._way.outcome != "refused" and not _valid(text):
            return False
        self.checks += 1
        verdict = self._judge(text)
        if verdict.way != self._way:
            return False
        self.text, self.verdict = text, verdict
        return True

    def _alone(self) -> Iterator[Spec]:
        """Each layer over inputs of its own; most faults are those of one."""
        try:
            graph = graph_of(self.text)
        except UserError:
            return
        wanted = [node for node in graph.nodes if node.op.key == self._way.what]
        for node in wanted or graph.nodes:
            yield alone(graph, node.id)

    def _flat(self) -> Iterator[Spec]:
        """All layers in one list, without blocks."""
        try:
            graph = graph_of(self.text)
        except UserError:
            return
        yield flat(graph)


def _valid(text: str) -> bool:
    try:
        graph_of(text)
    except UserError:
        return False
    except Exception:  # how it fails is the judge's matter
        return True
    return True


# --- steps -------------------------------------------------------------------------------------


def fewer_layers(spec: Spec) -> Iterator[Spec]:
    """A layer less, in every list of layers, the later ones first; its readers read its input."""
    for path in reversed(list(_layer_paths(spec))):
        smaller = copy.deepcopy(spec)
        *above, place = path
        layers = _at(smaller, tuple(above))
        entry = layers.pop(place)
        fields = next(iter(entry.values())) if isinstance(entry, dict) else {}
        name, source = fields.get("name"), fields.get("from")
        if name is None:
            yield smaller
            continue
        for read in [source] if isinstance(source, str) else source or [None]:
            made = copy.deepcopy(smaller)
            _rewire(made, name, read)
            yield made
        # What was read only by it can go as well, as its readers can.
        pruned = copy.deepcopy(smaller)
        _prune(pruned, name)
        yield pruned


def _layer_paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key == "layers" and isinstance(entry, list):
                for place, layer in enumerate(entry):
                    yield (*path, key, place)
                    yield from _layer_paths(layer, (*path, key, place))
            else:
                yield from _layer_paths(entry, (*path, key))


def _rewire(spec: Spec, name: str, source: str | None) -> None:
    """Let what reads one value read another; None for the layer above."""

    def renamed(read: Any) -> Any:
        if isinstance(read, list):
            return [renamed(each) for each in read]
        return source if read == name or str(read).startswith(f"{name}.") else read

    for layer in _walk(spec):
        if "from" in layer:
            layer["from"] = renamed(layer["from"])
            if layer["from"] is None:
                del layer["from"]
        if layer.get("share") == name:
            del layer["share"]
    outputs = spec.get("outputs")
    if isinstance(outputs, dict):
        for key, read in outputs.items():
            if not isinstance(read, dict):
                outputs[key] = renamed(read)
    elif outputs is not None:
        spec["outputs"] = renamed(outputs)


def _prune(spec: Spec, name: str) -> None:
    """Take out whatever reads a value, and the outputs that it reaches."""
    gone, layers = {name}, spec["layers"]
    kept = []
    for layer in layers:
        fields = next(iter(layer.values())) if isinstance(layer, dict) else {}
        read = fields.get("from", ())
        sources = {read} if isinstance(read, str) else set(read)
        if any(source.partition(".")[0] in gone for source in sources):
            gone.add(fields.get("name", ""))
        else:
            kept.append(layer)
    spec["layers"] = kept
    outputs = spec.get("outputs")
    if isinstance(outputs, dict):
        left = {
            key: read
            for key, read in outputs.items()
            if isinstance(read, str) and read.partition(".")[0] not in gone
        }
        spec["outputs"] = left
        if not left:
            del spec["outputs"]
        spec.pop("train", None)


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside."""
    if isinstance(value, dict):
        yield value
        for entry in value.values():
            yield from _walk(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _walk(entry)


NEEDED = frozenset({"cnnspec", "input", "layers"})


def fewer_keys(spec: Spec) -> Iterator[Spec]:
    """A key less anywhere: a section, an output, an input, an option that then has its default."""
    for path in _paths(spec):
        if isinstance(path[-1], str) and path[-1] not in NEEDED:
            smaller = copy.deepcopy(spec)
            parent = _at(smaller, path[:-1])
            del parent[path[-1]]
            if not parent and len(path) > 2 and isinstance(path[-2], str):
                _bare(smaller, path[:-1])
            yield smaller


def _bare(spec: Spec, path: Path) -> None:
    """A word over no fields is the word alone."""
    *above, key = path
    if above and isinstance(above[-1], int):
        _at(spec, tuple(above[:-1]))[above[-1]] = key


def smaller_values(spec: Spec) -> Iterator[Spec]:
    """A smaller number, a shorter list, one number for a list of equal ones."""
    for path in _paths(spec):
        if path[0] == "cnnspec":
            continue
        value = _at(spec, path)
        for simpler in _simpler(value):
            smaller = copy.deepcopy(spec)
            _at(smaller, path[:-1])[path[-1]] = simpler
            yield smaller


def _simpler(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        for simpler in (0, 1, 2, value // 2, value - 1):
            if 0 <= simpler < value:
                yield simpler
    elif isinstance(value, float):
        for plain in (1, 0.5, 2):
            if abs(plain - 1) < abs(value - 1) and len(repr(plain)) < len(repr(value)):
                yield plain
    elif isinstance(value, list) and value:
        if all(entry == value[0] for entry in value) and not isinstance(value[0], (dict, str)):
            yield value[0]
        if len(value) > 1 and all(isinstance(entry, int) for entry in value):
            for place in range(1, len(value)):
                yield value[:place] + value[place + 1 :]


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The place of every value, the outer ones first."""
    if path:
        yield path
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, entry in entries:
        yield from _paths(entry, (*path, key))


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value
